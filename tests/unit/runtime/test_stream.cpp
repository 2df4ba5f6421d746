#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <numeric>
#include <thread>
#include <vector>

#include "th/base/error.hpp"
#include "th/runtime/stream.hpp"

namespace {

using th::runtime::Event;
using th::runtime::Streams;

TEST(InlineStreams, RunATaskAtOnceAndPassItsErrorOn) {
  const Streams s = th::runtime::inline_streams();
  int runs = 0;
  s.communication->enqueue("task", [&] { ++runs; }, {});
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(s.communication->admits_caller());
  s.compute->wait(s.communication->record());
  EXPECT_THROW(s.communication->enqueue("task", [] { throw th::MpiError("gone"); }, {}), th::MpiError);
}

TEST(ThreadedStreams, RunTasksInOrderBesideTheCaller) {
  const Streams s = th::runtime::threaded_streams();
  std::promise<void> go;
  std::vector<int> order;
  s.communication->enqueue("wait", [&] { go.get_future().wait(); }, {});
  for (int i = 0; i < 100; ++i) s.communication->enqueue("task", [&, i] { order.push_back(i); }, {});
  EXPECT_FALSE(s.communication->admits_caller()) << "work is pending";
  go.set_value();
  s.communication->drain();
  EXPECT_TRUE(s.communication->admits_caller());
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(ThreadedStreams, ATaskIsAdmittedWhileOthersWait) {
  const Streams s = th::runtime::threaded_streams();
  bool admitted = false;
  s.communication->enqueue("task", [&] { admitted = s.communication->admits_caller(); }, {});
  s.communication->enqueue("task", [] {}, {});
  s.communication->drain();
  EXPECT_TRUE(admitted);
}

TEST(ThreadedStreams, ComputeWaitsForAnEventAndForNoMore) {
  const Streams s = th::runtime::threaded_streams();
  std::promise<void> go;
  std::atomic<int> done = 0;
  s.communication->enqueue("first", [&] { done = 1; }, {});
  const Event first = s.communication->record();
  s.communication->enqueue("second", [&] { go.get_future().wait(), done = 2; }, {});
  s.compute->wait(first);  // the second one has not run and can't
  EXPECT_EQ(done, 1);
  s.compute->wait(Event{});
  go.set_value();
  s.compute->wait(s.communication->record());
  EXPECT_EQ(done, 2);
}

TEST(ThreadedStreams, WaitForEachOther) {
  const Streams one = th::runtime::threaded_streams(), other = th::runtime::threaded_streams();
  std::promise<void> go;
  std::atomic<int> value = 0;
  one.communication->enqueue("copy", [&] { go.get_future().wait(), value = 7; }, {});
  other.communication->wait(one.communication->record());
  int seen = 0;
  other.communication->enqueue("use", [&] { seen = value; }, {});
  go.set_value();
  other.communication->drain();
  EXPECT_EQ(seen, 7);
}

TEST(ThreadedStreams, AnErrorComesOutOfEveryLaterWaitAndTasksBehindItAreDropped) {
  const Streams s = th::runtime::threaded_streams();
  s.communication->enqueue("breaks", [] { throw th::MpiError("MPI_Alltoall failed"); }, {});
  int runs = 0;
  s.communication->enqueue("behind it", [&] { ++runs; }, {});
  for (int i = 0; i < 2; ++i) {
    try {
      s.compute->wait(s.communication->record());
      FAIL() << "no error";
    } catch (const th::MpiError& error) {
      EXPECT_STREQ(error.what(), "MPI_Alltoall failed");
    }
  }
  EXPECT_THROW(s.communication->drain(), th::MpiError);
  EXPECT_EQ(runs, 0);
}

TEST(ThreadedStreams, RunWhatIsPendingBeforeTheyEnd) {
  int runs = 0;
  {
    const Streams s = th::runtime::threaded_streams();
    for (int i = 0; i < 50; ++i) s.communication->enqueue("task", [&] { ++runs; }, {});
  }
  EXPECT_EQ(runs, 50) << "peers wait for these collectives";
}

}  // namespace
