// bench_loss: softmax cross entropy over 512 rows of logits, by vocabulary and label smoothing,
// with and without its gradient. The gradient replaces the logits, so that later calls see small
// logits: the work does not depend on the values. Counter: bytes of logits a second.
#include <benchmark/benchmark.h>

#include <vector>

#include "th/base/hash.hpp"
#include "th/model/ops/host_ops.hpp"

namespace {

constexpr std::int64_t kRows = 512;

void cross_entropy(benchmark::State& state, float smoothing, float g_scale) {
  const std::int64_t vocabulary = state.range(0);
  std::vector<float> logits(static_cast<std::size_t>(kRows * vocabulary));
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(th::hash_pair(1, i) % 1000) * 0.01F;
  std::vector<std::int64_t> labels;
  for (std::int64_t m = 0; m < kRows; ++m) labels.push_back(1 + m * 37 % (vocabulary - 1));
  std::vector<double> losses(kRows);
  for (auto _ : state) {
    th::model::compute(th::op::CrossEntropy<float>{.logits = logits.data(),
                                                   .labels = labels.data(),
                                                   .row_losses = losses.data(),
                                                   .rows = kRows,
                                                   .vocabulary = vocabulary,
                                                   .smoothing = smoothing,
                                                   .g_scale = g_scale});
    benchmark::DoNotOptimize(losses.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kRows * vocabulary * 4);
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("vocabulary")
      ->Arg(2000)
      ->Arg(10000)
      ->Arg(32000)
      ->Unit(benchmark::kMillisecond)
      ->MinTime(0.3)
      ->UseRealTime();
}

BENCHMARK_CAPTURE(cross_entropy, loss, 0.0F, 0.0F)->Apply(sizes);
BENCHMARK_CAPTURE(cross_entropy, loss_and_gradient, 0.0F, 1e-3F)->Apply(sizes);
BENCHMARK_CAPTURE(cross_entropy, smoothed_loss_and_gradient, 0.1F, 1e-3F)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
