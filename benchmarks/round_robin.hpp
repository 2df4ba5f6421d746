#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <deque>
#include <functional>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace th::bench {

/// Variants of one job, measured in turn by Google Benchmark: round 0 of every variant, then round
/// 1 of every variant, and so on, so that what else the machine does falls on all of them alike.
/// Medians over the rounds are compared, and ratios are taken within one run.
class RoundRobin {
 public:
  using Work = std::function<void()>;

  /// `barrier` runs before and after each timed call (empty: one process); `reports`: this rank
  /// prints. With ranks, every rank adds the same variants in the same order: `work` may be
  /// collective.
  explicit RoundRobin(Work barrier = {}, bool reports = true)
      : barrier_(std::move(barrier)), reports_(reports) {}

  /// `work` is timed `calls` times a round.
  void add(const std::string& name, Work work, std::int64_t calls = 1) {
    variants_.push_back({name, std::move(work), calls, {}});
    turns_.push_back(&variants_.back());
  }
  /// Another turn a round of a variant that was added: beside one that is compared with it.
  void again(const std::string& name) {
    for (Variant& variant : variants_) {
      if (variant.name == name) turns_.push_back(&variant);
    }
  }

  /// Takes Google Benchmark's options out of the command line. Other ranks than the one that
  /// reports write no files.
  static void initialize(int& argc, char** argv, bool reports) {
    const auto is_output = [](const char* argument) {
      return std::string(argument).rfind("--benchmark_out", 0) == 0;
    };
    if (!reports) argc = static_cast<int>(std::remove_if(argv, argv + argc, is_output) - argv);
    benchmark::Initialize(&argc, argv);
  }

  /// Each turn once to warm up, then `rounds` rounds. The single measurements go to standard error.
  void run(std::int64_t rounds) {
    for (std::int64_t round = -1; round < rounds; ++round) {
      for (Variant* variant : turns_) {
        const std::string name =
            variant->name + (round < 0 ? std::string("/warm_up")
                                       : std::string("/round:").append(std::to_string(round)));
        benchmark::RegisterBenchmark(name.c_str(),
                                     [this, variant, round](benchmark::State& state) {
                                       for (auto _ : state) {
                                         const double seconds = time_of(variant->work);
                                         state.SetIterationTime(seconds);
                                         if (round < 0) continue;
                                         variant->seconds.push_back(seconds);
                                         timeline_.push_back({variant, seconds});
                                       }
                                     })
            ->Iterations(round < 0 ? 1 : variant->calls)
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
    NoReport silent;
    benchmark::ConsoleReporter console(benchmark::ConsoleReporter::OO_Tabular);
    console.SetOutputStream(&std::cerr);
    if (reports_) {
      benchmark::RunSpecifiedBenchmarks(&console);
    } else {
      benchmark::RunSpecifiedBenchmarks(&silent);
    }
  }

  /// Seconds of a call, the median over all rounds; 0 where --benchmark_filter left the variant
  /// out.
  [[nodiscard]] double median(const std::string& name) const {
    for (const Variant& variant : variants_) {
      if (variant.name == name && !variant.seconds.empty()) return median_of(variant.seconds);
    }
    return 0;
  }

  /// Time of a call of `name` in units of one of `reference`, the median over all calls, each
  /// compared with the mean of the last call of `reference` before it and the next one after it: a
  /// machine whose speed changes between them disturbs few. 0 where one was left out.
  [[nodiscard]] double beside(const std::string& name, const std::string& reference) const {
    std::vector<double> ratios;
    for (auto at = timeline_.begin(); at != timeline_.end(); ++at) {
      if (at->variant->name != name) continue;
      const auto is_reference = [&](const Call& call) { return call.variant->name == reference; };
      const auto before =
          std::find_if(std::make_reverse_iterator(at), timeline_.rend(), is_reference);
      const auto after = std::find_if(at, timeline_.end(), is_reference);
      const double sum = (before != timeline_.rend() ? before->seconds : 0) +
                         (after != timeline_.end() ? after->seconds : 0);
      const int neighbours =
          (before != timeline_.rend() ? 1 : 0) + (after != timeline_.end() ? 1 : 0);
      if (neighbours > 0) ratios.push_back(at->seconds * neighbours / sum);
    }
    return ratios.empty() ? 0 : median_of(ratios);
  }

  /// Lets go of the variants and of what they hold (buffers that MPI must free before it ends).
  void clear() {
    benchmark::ClearRegisteredBenchmarks();
    turns_.clear();
    timeline_.clear();
    variants_.clear();
  }

  /// printf to standard output, by the rank that reports.
  [[gnu::format(printf, 2, 3)]] void print(const char* format, ...) const {
    if (!reports_) return;
    std::va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::fflush(stdout);
  }

 private:
  struct Variant {
    std::string name;
    Work work;
    std::int64_t calls;
    std::vector<double> seconds;
  };
  struct Call {
    const Variant* variant;
    double seconds;
  };
  [[nodiscard]] static double median_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
  }
  class NoReport final : public benchmark::BenchmarkReporter {
    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>&) override {}
  };

  [[nodiscard]] double time_of(const Work& work) const {
    if (barrier_) barrier_();
    const auto start = std::chrono::steady_clock::now();
    work();
    if (barrier_) barrier_();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Work barrier_;
  bool reports_;
  std::deque<Variant> variants_;  // addresses stay: registered benchmarks refer to them
  std::vector<Variant*> turns_;   // of a round
  std::vector<Call> timeline_;    // as they came
};

/// a / b, 0 where b was not measured.
[[nodiscard]] inline double ratio(double a, double b) { return b > 0 ? a / b : 0; }

}  // namespace th::bench
