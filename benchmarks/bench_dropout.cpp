// bench_dropout: our counter-based dropout kernels against a plain copy and against LibTorch's
// dropout, which draws and stores a mask. Elements of a micro-batch of the default model: 512 x 512
// and 512 x 2048. Counter: elements a second.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "th/model/ops/host_ops.hpp"

namespace {

using namespace th;

constexpr Dropout kDropout{7, 0.1F};
constexpr std::int64_t kRows = 512;

template <typename Kernel>
void measure(benchmark::State& state, Kernel kernel) {
  const std::int64_t columns = state.range(0), n = kRows * columns;
  std::vector<float> x(static_cast<std::size_t>(n), 0.5F),
      y = x, bias(static_cast<std::size_t>(columns), 0.1F);
  for (auto _ : state) {
    kernel(x.data(), y.data(), bias.data(), columns);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * n);
}

void copy(benchmark::State& state) {
  measure(state, [](const float* x, float* y, const float*, std::int64_t c) {
    std::memcpy(y, x, static_cast<std::size_t>(kRows * c) * sizeof(float));
  });
}
void apply(benchmark::State& state) {
  measure(state, [](const float* x, float* y, const float*, std::int64_t c) {
    model::compute(
        op::ApplyDropout<float>{.x = x, .out = y, .count = kRows * c, .dropout = kDropout});
  });
}
void add_to_residual(benchmark::State& state) {
  measure(state, [](const float* x, float* y, const float*, std::int64_t c) {
    model::compute(
        op::AddDropout<float>{.x = x, .s = y, .y = y, .count = kRows * c, .dropout = kDropout});
  });
}
void bias_relu(benchmark::State& state) {
  measure(state, [](const float*, float* y, const float* bias, std::int64_t c) {
    model::compute(op::BiasReluDropout<float>{
        .h = y, .bias = bias, .rows = kRows, .columns = c, .dropout = kDropout});
  });
}
void libtorch(benchmark::State& state) {
  const c10::InferenceMode no_grad;
  const at::Tensor x = at::ones({kRows, state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(at::native_dropout(x, 0.1, true));
  state.SetItemsProcessed(state.iterations() * x.numel());
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("columns")
      ->Arg(512)
      ->Arg(2048)
      ->Unit(benchmark::kMicrosecond)
      ->MinTime(0.2)
      ->UseRealTime();
}

BENCHMARK(copy)->Apply(sizes);
BENCHMARK(apply)->Apply(sizes);
BENCHMARK(add_to_residual)->Apply(sizes);
BENCHMARK(bias_relu)->Apply(sizes);
BENCHMARK(libtorch)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  at::set_num_threads(1);
  benchmark::RunSpecifiedBenchmarks();
}
