#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "th/base/error.hpp"
#include "th/runtime/device/stream.hpp"

namespace {

using th::runtime::Event;
using th::runtime::InlineStream;
using th::runtime::Stream;

/// Compute is the caller, communication a thread.
struct Streams {
  std::unique_ptr<Stream> compute = std::make_unique<InlineStream>(),
                          communication = th::runtime::make_thread_stream();
};

TEST(InlineStream, RunsATaskAtOnceAndPassesItsErrorOn) {
  InlineStream stream, other;
  int runs = 0;
  stream.enqueue("task", [&] { ++runs; }, {});
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(stream.admits_caller());
  other.wait(stream.record());
  EXPECT_THROW(stream.enqueue("task", [] { throw th::MpiError("gone"); }, {}), th::MpiError);
}

TEST(ThreadedStreams, CopyWithinATaskAndAsTasksOfTheirOwn) {
  const Streams s;
  std::promise<void> go;
  const int from[2] = {7, 8};
  int to[2] = {}, then = 1;
  s.communication->enqueue("held", [&] { go.get_future().wait(); }, {});
  s.communication->enqueue("task",
                           [&] { s.communication->copy(to, from, sizeof to), then = to[1]; }, {});
  s.communication->clear(to, sizeof(int));
  EXPECT_EQ(to[0], 0);
  EXPECT_EQ(then, 1) << "held";
  go.set_value();
  s.communication->run_bodies();
  EXPECT_EQ(then, 8) << "the task's copy was made in the task";
  EXPECT_EQ(to[0], 0) << "zeroed behind it";
  EXPECT_EQ(to[1], 8);
}

TEST(ThreadedStreams, RunTasksInOrderBesideTheCaller) {
  const Streams s;
  std::promise<void> go;
  std::vector<int> order;
  s.communication->enqueue("wait", [&] { go.get_future().wait(); }, {});
  for (int i = 0; i < 100; ++i)
    s.communication->enqueue("task", [&, i] { order.push_back(i); }, {});
  EXPECT_FALSE(s.communication->admits_caller()) << "work is pending";
  go.set_value();
  s.communication->drain();
  EXPECT_TRUE(s.communication->admits_caller());
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(ThreadedStreams, ATaskIsAdmittedWhileOthersWait) {
  const Streams s;
  bool admitted = false;
  s.communication->enqueue("task", [&] { admitted = s.communication->admits_caller(); }, {});
  s.communication->enqueue("task", [] {}, {});
  s.communication->drain();
  EXPECT_TRUE(admitted);
}

TEST(ThreadedStreams, ComputeWaitsForAnEventAndForNoMore) {
  const Streams s;
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
  const Streams one, other;
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
  const Streams s;
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
    const Streams s;
    for (int i = 0; i < 50; ++i) s.communication->enqueue("task", [&] { ++runs; }, {});
  }
  EXPECT_EQ(runs, 50) << "peers wait for these collectives";
}

}  // namespace
