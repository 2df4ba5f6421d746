// bench_adam: one optimizer step over a flat shard, against LibTorch's fused Adam, and the block
// sums of the gradient norm. Sizes: one that fits into the caches and one that does not. Counters:
// elements a second, bytes moved a second (Adam reads four arrays and writes three).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <vector>

#include "th/zero/optimizer.hpp"

namespace {

using namespace th;

std::vector<float> filled(std::int64_t n, float value) {
  return std::vector<float>(static_cast<std::size_t>(n), value);
}

void count(benchmark::State& state, std::int64_t arrays) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * arrays * 4);
}

void optimizer(benchmark::State& state, config::OptimizerKind kind, std::int64_t arrays) {
  const std::int64_t n = state.range(0);
  std::vector<float> p = filled(n, 0.1F), g = filled(n, 0.01F), m = filled(n, 0.0F),
                     v = filled(n, 0.0F);
  zero::OptimizerStep step{{}, 1e-4, 0.5, 1};
  step.settings.name = kind;
  for (auto _ : state) {
    zero::apply_update(
        zero::update_factors(step),
        {.weights = p.data(), .gradients = g.data(), .states = {m.data(), v.data()}, .count = n});
    ++step.step;
    benchmark::ClobberMemory();
  }
  count(state, arrays);
}

void libtorch_fused_adam(benchmark::State& state) {
  const c10::InferenceMode no_grad;
  const std::int64_t n = state.range(0);
  std::vector<at::Tensor> p{at::full({n}, 0.1)}, g{at::full({n}, 0.01)}, m{at::zeros({n})},
      v{at::zeros({n})}, none, steps{at::ones({}, at::kFloat)};
  for (auto _ : state)
    at::_fused_adam_(p, g, m, v, none, steps, 1e-4, 0.9, 0.98, 0.0, 1e-9, false, false);
  count(state, 7);
}

void norm_block_sums(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  const std::vector<float> g = filled(n, 0.01F);
  std::vector<double> out(static_cast<std::size_t>(n / 256));
  for (auto _ : state) {
    zero::block_square_sums(g.data(), n / 256, out.data());
    benchmark::ClobberMemory();
  }
  count(state, 1);
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("elements")
      ->Arg(1 << 15)
      ->Arg(1 << 24)
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.3)
      ->UseRealTime();
}

BENCHMARK_CAPTURE(optimizer, adam, config::OptimizerKind::kAdam, 7)->Apply(sizes);
BENCHMARK_CAPTURE(optimizer, adamw, config::OptimizerKind::kAdamw, 7)->Apply(sizes);
BENCHMARK_CAPTURE(optimizer, sgd, config::OptimizerKind::kSgd, 3)->Apply(sizes);
BENCHMARK(libtorch_fused_adam)->Apply(sizes);
BENCHMARK(norm_block_sums)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  at::set_num_threads(1);
  benchmark::RunSpecifiedBenchmarks();
}
