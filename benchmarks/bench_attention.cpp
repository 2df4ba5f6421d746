// bench_attention: one attention block of the default model (8 heads of 64), forward and forward +
// backward, by length: self, causal and cross attention, projections included. 512 rows at every
// length. Counters: GFLOP/s of its matrix products, and rows/s.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <vector>

#include "th/model/blocks/layers.hpp"

namespace {

using namespace th::model;

constexpr std::int64_t kRows = 512, kWidth = 512, kHeads = 8;
enum class Kind { kSelf, kCausal, kCross };

/// The block, its input and its gradients at one length.
struct Block {
  Block(Kind kind, std::int64_t length, bool training)
      : gemm(resolve_gemm(th::config::Gemm::kAuto)) {
    const auto tensor = [](at::IntArrayRef shape) { return at::rand(shape).sub_(0.5).mul_(0.05); };
    values = {tensor({3 * kWidth, kWidth}), tensor({3 * kWidth}), tensor({kWidth, kWidth}),
              tensor({kWidth})};
    for (const at::Tensor& value : values) gradients.push_back(at::zeros_like(value));
    x = tensor({kRows, kWidth});
    g = tensor({kRows, kWidth});
    if (kind == Kind::kCross) memory = tensor({kRows, kWidth});
    g_memory = at::zeros({kRows, kWidth});
    lengths.assign(static_cast<std::size_t>(kRows / length), static_cast<std::int32_t>(length));
    context.gemm = &gemm;
    context.heads = kHeads;
    context.dropout = training ? 0.1F : 0.0F;
    context.dropout_key = 1;
    for (std::int64_t row = 0; row <= kRows; row += length) offsets.push_back(row);
    groups = {{0, kRows / length, length, length}};
    site.groups = groups;
    site.query_offsets = site.key_offsets = offsets.data();
    site.query_rows = site.key_rows = kRows;
    site.key_lengths = lengths.data();
    if (kind == Kind::kCausal) site.rule = {runtime::ScoreRule::Kind::kCausal};
    site.dropout = context.site(0, 0);
  }
  void forward(AttentionTape& tape) {
    benchmark::DoNotOptimize(attention_forward(context, {values, {}}, x, memory, site, tape));
  }
  void backward(const AttentionTape& tape) {
    benchmark::DoNotOptimize(
        attention_backward(context, {values, gradients}, g, x, memory, site, tape, &g_memory));
  }
  [[nodiscard]] double forward_flops() const {
    const auto rows = static_cast<double>(kRows), width = static_cast<double>(kWidth);
    return 2 * rows * width * (4 * width + 2 * static_cast<double>(groups[0].keys));
  }

  Gemm gemm;
  PassContext context;
  AttentionSite site;
  std::vector<std::int32_t> lengths;
  std::vector<std::int64_t> offsets;
  std::vector<AttentionGroup> groups;
  std::vector<at::Tensor> values, gradients;
  at::Tensor x, g, memory, g_memory;
};

void attention(benchmark::State& state, Kind kind, bool backward, bool fused) {
  const c10::InferenceMode no_grad;
  Block block(kind, state.range(0), true);
  block.context.fused_attention = fused;
  for (auto _ : state) {
    AttentionTape tape;
    block.forward(tape);
    if (backward) block.backward(tape);
  }
  const double calls = static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(
      calls * block.forward_flops() * (backward ? 3 : 1) * 1e-9, benchmark::Counter::kIsRate);
  state.counters["rows/s"] =
      benchmark::Counter(calls * static_cast<double>(kRows), benchmark::Counter::kIsRate);
}

void lengths(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("length")
      ->Arg(32)
      ->Arg(128)
      ->Arg(512)
      ->Unit(benchmark::kMillisecond)
      ->MinTime(0.3)
      ->UseRealTime();
}

BENCHMARK_CAPTURE(attention, self_forward, Kind::kSelf, false, true)->Apply(lengths);
BENCHMARK_CAPTURE(attention, self_forward_products, Kind::kSelf, false, false)->Apply(lengths);
BENCHMARK_CAPTURE(attention, self_forward_backward, Kind::kSelf, true, true)->Apply(lengths);
BENCHMARK_CAPTURE(attention, self_forward_backward_products, Kind::kSelf, true, false)
    ->Apply(lengths);
BENCHMARK_CAPTURE(attention, causal_forward, Kind::kCausal, false, true)->Apply(lengths);
BENCHMARK_CAPTURE(attention, causal_forward_backward, Kind::kCausal, true, true)->Apply(lengths);
BENCHMARK_CAPTURE(attention, causal_forward_backward_products, Kind::kCausal, true, false)
    ->Apply(lengths);
BENCHMARK_CAPTURE(attention, cross_forward, Kind::kCross, false, true)->Apply(lengths);
BENCHMARK_CAPTURE(attention, cross_forward_backward, Kind::kCross, true, true)->Apply(lengths);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  at::set_num_threads(1);
  benchmark::RunSpecifiedBenchmarks();
}
