#include "app/decoders/batch_decoder.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace th::app {

namespace {

/// Calls work(i) for the numbers i of [0, count), the last first, on the threads that this one may
/// compute with. If they are more than the calls, each call computes with an equal part of them.
/// When a call returns false, no other is begun and the result is false. Throws what a call threw.
bool over_tasks(std::size_t count, const std::function<bool(std::size_t)>& work) {
  const int threads = at::get_num_threads();
  const int workers = static_cast<int>(std::min(static_cast<std::size_t>(threads), count));
  std::atomic<std::size_t> begun = 0;
  std::atomic<bool> goes_on = true;
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    at::set_num_threads(threads / workers);
    try {
      for (std::size_t n = begun++; n < count && goes_on; n = begun++) {
        if (!work(count - 1 - n)) goes_on = false;
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!error) error = std::current_exception();
      goes_on = false;
    }
  };
  {
    std::vector<std::jthread> others;
    for (int worker = 1; worker < workers; ++worker) others.emplace_back(run);
    run();
  }
  at::set_num_threads(threads);
  if (error) std::rethrow_exception(error);
  return goes_on;
}

}  // namespace

std::optional<std::vector<Hypotheses>> BatchDecoder::translate_all(
    std::span<const Task> tasks, const model::SearchOptions& options, const Stop& stop) {
  if (tasks.empty()) return std::vector<Hypotheses>();
  std::vector<Hypotheses> all(tasks.size());
  const bool done = over_tasks(tasks.size(), [&](std::size_t i) {
    std::optional<Hypotheses> found = translate(tasks[i].batch, options, tasks[i].sentences, stop);
    if (found) all[i] = std::move(*found);
    return found.has_value();
  });
  if (!done) return std::nullopt;
  return all;
}

std::optional<std::vector<std::vector<double>>> BatchDecoder::score_all(std::span<const Task> tasks,
                                                                        const Stop& stop) {
  std::vector<std::vector<double>> all;
  for (const Task& task : tasks) {
    std::optional<std::vector<double>> scores = score(task.batch, stop);
    if (!scores) return std::nullopt;
    all.push_back(std::move(*scores));
  }
  return all;
}

}  // namespace th::app
