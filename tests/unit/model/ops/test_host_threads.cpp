// Ranges of work are dealt to LibTorch's threads, and each number is worked on once.
#include <gtest/gtest.h>

#include "model/ops/host_threads.hpp"

#include <ATen/Parallel.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace th::model {
namespace {

class HostThreads : public testing::Test {
 protected:
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

TEST_F(HostThreads, TwoWorkAtTheSameTime) {
  at::set_num_threads(2);
  std::atomic<int> inside{0};
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::set<std::int64_t> numbers;
  over_threads(2, [&](std::int64_t begin, std::int64_t end, std::int64_t thread) {
    inside += static_cast<int>(end - begin);
    // A loop of one thread would wait here in vain for the other range.
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (inside < 2 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
    const std::scoped_lock lock(mutex);
    ids.insert(std::this_thread::get_id());
    numbers.insert(thread);
  });
  EXPECT_EQ(ids.size(), 2U);
  EXPECT_EQ(numbers, (std::set<std::int64_t>{0, 1}));
}

TEST_F(HostThreads, EachNumberIsWorkedOnOnce) {
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    for (const std::int64_t count : {0, 1, 2, 7, 100}) {
      std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
      over_threads(count, [&](std::int64_t begin, std::int64_t end, std::int64_t thread) {
        EXPECT_TRUE(thread >= 0 && thread < threads) << thread;
        for (std::int64_t i = begin; i < end; ++i) ++times[static_cast<std::size_t>(i)];
      });
      for (const std::atomic<int>& of_one : times) EXPECT_EQ(of_one, 1) << threads << " " << count;
    }
  }
}

}  // namespace
}  // namespace th::model
