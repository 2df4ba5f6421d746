// bench_attention_lengths [LENGTH…] measures attention without its projections by length, 8 heads
// of 64, one thread: in one kernel, of products, and LibTorch's scaled_dot_product_attention for
// CPUs; with dropout, causal, and local with a window of 256. Each is given as a share of the
// machine's 512-cubed fp32 product, by the operations that the formulas need: 4 L² d a head
// forward and 10 L² d backward. Ratios are medians of pairs in turn. A round is like a training
// step: it goes forward through 4 million pairs of positions, sentence after sentence (one
// sentence from 2048 on), and then backward from the last sentence. So what an implementation
// keeps between the passes leaves the caches.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "model/sublayers/attention_in_one_kernel.hpp"
#include "model/sublayers/attention_of_products.hpp"
#include "round_robin.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

namespace {

using namespace th::model;

constexpr std::int64_t kHeads = 8, kHeadWidth = 64, kWidth = kHeads * kHeadWidth, kCube = 512;
constexpr std::int64_t kWindow = 256, kFullUpTo = 16384;
constexpr std::int64_t kProductsUpTo = 8192;  ///< scores of products: 2 GiB each at 8192

/// One sentence's projected rows, their gradients, and the attention of one rule.
struct Sentence {
  explicit Sentence(std::int64_t rows) : length(rows), offsets{0, rows} {
    const auto tensor = [](at::IntArrayRef shape) { return at::rand(shape).sub_(0.5); };
    packed = tensor({length, 3 * kWidth});
    g = tensor({length, kWidth});
    g_packed = at::zeros_like(packed);
  }
  std::int64_t length;
  std::vector<std::int64_t> offsets;
  at::Tensor packed, g, g_packed;
};

/// Attention by this project's ways.
class Ours {
 public:
  Ours(Sentence& sentence, th::runtime::ScoreRule rule, float rate)
      : sentence_(sentence),
        gemm_(resolve_gemm(th::config::Gemm::kAuto)),
        groups_{{0, 1, sentence.length, sentence.length}} {
    context_.gemm = &gemm_;
    context_.heads = kHeads;
    site_.groups = groups_;
    site_.query_offsets = site_.key_offsets = sentence.offsets.data();
    site_.query_rows = site_.key_rows = sentence.length;
    site_.rules.scores = rule;
    site_.dropout = {1, rate};
  }
  void in_one_kernel(std::int64_t sentences) {
    const AttentionInOneKernel attention(context_, site_, kWidth);
    std::vector<AttentionTape> tapes(static_cast<std::size_t>(sentences));
    for (AttentionTape& tape : tapes) {
      tape.q = sentence_.packed;
      benchmark::DoNotOptimize(attention.merged(tape));
    }
    for (; !tapes.empty(); tapes.pop_back())
      attention.backward(tapes.back(), sentence_.g, sentence_.g_packed, {});
  }
  void of_products(std::int64_t sentences) {
    const AttentionOfProducts attention(context_, site_, kWidth);
    struct Kept {
      AttentionTape tape;
      at::Tensor p, dropped;
    };
    std::vector<Kept> all(static_cast<std::size_t>(sentences));
    for (auto& [tape, p, dropped] : all) {
      attention.take_queries(sentence_.packed, tape);
      attention.take_keys(sentence_.packed, tape);
      p = attention.probabilities(tape);
      dropped = attention.dropped(p);
      benchmark::DoNotOptimize(attention.merged(dropped, tape.v));
    }
    for (; !all.empty(); all.pop_back()) {
      auto& [tape, p, dropped] = all.back();
      benchmark::DoNotOptimize(
          attention.backward(tape, p, std::move(dropped), sentence_.g, true).q);
    }
  }

 private:
  Sentence& sentence_;
  Gemm gemm_;
  PassContext context_;
  AttentionSite site_;
  std::vector<AttentionGroup> groups_;
};

/// LibTorch's attention for CPUs, over the same rows.
void torch_attention(Sentence& s, std::int64_t sentences) {
  const auto heads = [&](const at::Tensor& rows, std::int64_t column) {
    return rows.narrow(1, column, kWidth).view({1, s.length, kHeads, kHeadWidth}).transpose(1, 2);
  };
  const at::Tensor q = heads(s.packed, 0), k = heads(s.packed, kWidth),
                   v = heads(s.packed, 2 * kWidth);
  std::vector<std::tuple<at::Tensor, at::Tensor>> kept;
  for (std::int64_t i = 0; i < sentences; ++i)
    kept.push_back(at::_scaled_dot_product_flash_attention_for_cpu(q, k, v));
  for (; !kept.empty(); kept.pop_back()) {
    const auto& [out, sums] = kept.back();
    benchmark::DoNotOptimize(at::_scaled_dot_product_flash_attention_for_cpu_backward(
        heads(s.g, 0), q, k, v, out, sums, 0.0, false));
  }
}

/// Keys that all queries of one head see together.
double visible(th::runtime::ScoreRule rule, std::int64_t length) {
  double sum = 0;
  for (std::int64_t t = 0; t < length; ++t) {
    const th::runtime::PositionRange seen = rule.keys(t, length);
    sum += static_cast<double>(seen.end - seen.begin);
  }
  return sum;
}

void measure(std::int64_t length) {
  using Kind = th::runtime::ScoreRule::Kind;
  Sentence sentence(length);
  const at::Tensor a = at::rand({kCube, kCube}), b = at::rand({kCube, kCube});
  const Gemm gemm(resolve_gemm(th::config::Gemm::kAuto));
  struct Variant {
    std::string name;
    th::runtime::ScoreRule rule;
    float rate;
  };
  const th::runtime::ScoreRule full{Kind::kFull}, causal{Kind::kCausal};
  const std::vector<Variant> variants{{"kernel", full, 0},
                                      {"dropout", full, 0.1F},
                                      {"causal", causal, 0},
                                      {"window", {Kind::kLocal, kWindow, kWindow}, 0}};
  th::bench::RoundRobin robin;
  const std::int64_t sentences =
      std::max<std::int64_t>(1, (std::int64_t{1} << 22) / (length * length));
  std::vector<std::unique_ptr<Ours>> ours;
  const auto product = [&] { benchmark::DoNotOptimize(gemm.forward(a, b)); };
  robin.add("product", [=] {
    for (int i = 0; i < 8; ++i) product();
  });
  for (const Variant& v : variants) {
    if (length > kFullUpTo && v.name != "window") continue;
    ours.push_back(std::make_unique<Ours>(sentence, v.rule, v.rate));
    robin.add(v.name, [=, attention = ours.back().get()] { attention->in_one_kernel(sentences); });
    robin.again("product");
  }
  if (length <= kProductsUpTo) {
    robin.add("products",
              [=, attention = ours.front().get()] { attention->of_products(sentences); });
    robin.again("kernel");
    robin.add("torch", [&, sentences] { torch_attention(sentence, sentences); });
  }
  robin.run(length >= 8192 ? 3 : length >= 2048 ? 5 : 9);
  const double rate = 2.0 * kCube * kCube * kCube * 8 / robin.median("product");
  robin.print("| %lld |", static_cast<long long>(length));
  for (const Variant& v : variants) {
    const double flops = 14 * visible(v.rule, length) * kWidth * static_cast<double>(sentences);
    robin.print(" %.3f (%.2f ms) |", th::bench::ratio(flops / rate, robin.median(v.name)),
                1e3 * robin.median(v.name) / static_cast<double>(sentences));
  }
  const Variant& window = variants.back();
  robin.print(" %.3f | %.3f | %.3f | %.2f | %.1f | %.1f |\n", robin.beside("kernel", "products"),
              robin.beside("kernel", "torch"), robin.beside("window", "kernel"),
              1e9 * robin.median("window") / static_cast<double>(sentences) /
                  (visible(window.rule, length) * kHeads),
              4e-6 * static_cast<double>(th::runtime::host_attention_scratch(window.rule, length,
                                                                             length, kHeadWidth)),
              rate * 1e-9);
  robin.clear();
}

}  // namespace

int main(int argc, char** argv) {
  th::bench::RoundRobin::initialize(argc, argv, true);
  // Memory as in training, where activations are in pages of 2 MiB that stay with the process:
  // fresh pages of 4 KiB for each call's result would be measured with long sentences.
  observe_torch_memory();
  const th::runtime::MemoryScope activations(th::runtime::MemoryClass::kActivations);
  const c10::InferenceMode no_grad;
  at::set_num_threads(1);
  std::vector<std::int64_t> lengths;
  for (int i = 1; i < argc; ++i) lengths.push_back(std::strtoll(argv[i], nullptr, 10));
  if (lengths.empty()) lengths = {16, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
  std::printf(
      "| length | kernel | with dropout | causal | window | kernel : products | kernel : torch | "
      "window : kernel | window, ns a pair | window, MB | GFLOP/s |\n");
  std::printf("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const std::int64_t length : lengths) measure(length);
}
