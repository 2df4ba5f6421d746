#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <deque>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

namespace th::bench {

/// Variants of one job, measured in turn by Google Benchmark: round 0 of every variant, then round 1 of every variant, and so on, so that
/// what else the machine does falls on all of them alike. Medians over the rounds are compared, and ratios are taken within one run.
class RoundRobin {
 public:
  using Work = std::function<void()>;

  /// `barrier` runs before and after each timed call (empty: one process); `reports`: this rank prints. With ranks, every rank adds the
  /// same variants in the same order: `work` may be collective.
  explicit RoundRobin(Work barrier = {}, bool reports = true) : barrier_(std::move(barrier)), reports_(reports) {}

  /// `work` is timed `calls` times a round.
  void add(const std::string& name, Work work, std::int64_t calls = 1) { variants_.push_back({name, std::move(work), calls, {}}); }

  /// Takes Google Benchmark's options out of the command line. Other ranks than the one that reports write no files.
  static void initialize(int& argc, char** argv, bool reports) {
    const auto is_output = [](const char* argument) { return std::string(argument).rfind("--benchmark_out", 0) == 0; };
    if (!reports) argc = static_cast<int>(std::remove_if(argv, argv + argc, is_output) - argv);
    benchmark::Initialize(&argc, argv);
  }

  /// Each variant once to warm up, then `rounds` rounds. The single measurements go to standard error.
  void run(std::int64_t rounds) {
    for (std::int64_t round = -1; round < rounds; ++round) {
      for (Variant& variant : variants_) {
        const std::string name =
            variant.name + (round < 0 ? std::string("/warm_up") : std::string("/round:").append(std::to_string(round)));
        benchmark::RegisterBenchmark(name.c_str(),
                                     [this, &variant, round](benchmark::State& state) {
                                       for (auto _ : state) {
                                         const double seconds = time_of(variant.work);
                                         state.SetIterationTime(seconds);
                                         if (round >= 0) variant.seconds.push_back(seconds);
                                       }
                                     })
            ->Iterations(round < 0 ? 1 : variant.calls)
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

  /// Seconds of a call, the median over all rounds; 0 where --benchmark_filter left the variant out.
  [[nodiscard]] double median(const std::string& name) const {
    for (const Variant& variant : variants_) {
      if (variant.name != name || variant.seconds.empty()) continue;
      std::vector<double> sorted = variant.seconds;
      std::sort(sorted.begin(), sorted.end());
      const std::size_t middle = sorted.size() / 2;
      return sorted.size() % 2 == 1 ? sorted[middle] : 0.5 * (sorted[middle - 1] + sorted[middle]);
    }
    return 0;
  }

  /// Lets go of the variants and of what they hold (buffers that MPI must free before it ends).
  void clear() {
    benchmark::ClearRegisteredBenchmarks();
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
};

/// a / b, 0 where b was not measured.
[[nodiscard]] inline double ratio(double a, double b) { return b > 0 ? a / b : 0; }

}  // namespace th::bench
