// th_callgrind_kernels [KERNEL]: calls one of our kernels once on a fixed input, for `valgrind
// --tool=callgrind`; check_counts.py counts what th_measured executes. Without an argument: the
// instruction set that the kernels run with, then the kernels' names. Without LibTorch and MPI.
#include "th/base/build_info.hpp"
#include "th/base/hash.hpp"
#include "th/model/ops/host_ops.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <span>
#include <vector>

namespace {

using namespace th;

// M rows of D columns; B sentences of length T with H heads of width K; V words. A shard has kShard
// elements.
constexpr std::int64_t M = 64, D = 512, B = 2, T = 32, H = 8, K = 64, V = 2000, kShard = 32768,
                       kSlots = 8;
constexpr Dropout kDropout{7, 0.1F};
constexpr runtime::ScoreRule kCausal{runtime::ScoreRule::Kind::kCausal};

/// `n` values in [-1, 1), the same in every run.
std::vector<float> numbers(std::int64_t n, std::uint64_t seed) {
  std::vector<float> out(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(static_cast<double>(hash_pair(seed, i) >> 11) * 0x1p-52 - 1.0);
  return out;
}

struct Inputs {
  std::vector<float> x = numbers(M * D, 1), y = numbers(M * D, 2), z = numbers(M * D, 3);
  std::vector<float> gamma = numbers(D, 4), beta = numbers(D, 5), mean = numbers(M, 6),
                     rstd = numbers(M, 7), sums = numbers(D, 8);
  std::vector<float> scores = numbers(B * H * T * T, 9), probabilities = numbers(B * H * T * T, 10),
                     packed = numbers(B * T * 3 * D, 11);
  std::vector<float> of_packed = packed, scratch = std::vector<float>(static_cast<std::size_t>(
                                             runtime::host_attention_scratch(kCausal, T, T, K)));
  std::vector<float> table = numbers(V * D, 12), logits = numbers(M * V, 13);
  std::vector<float> parameters = numbers(kShard, 14), gradients = numbers(kShard, 15),
                     first = numbers(kShard, 16), second = numbers(kShard, 17);
  std::vector<std::vector<float>> slots;
  std::vector<double> losses = std::vector<double>(M);
  std::vector<double> blocks = std::vector<double>(kShard / 256);
  std::vector<std::int64_t> ids;
  std::array<std::int32_t, B> lengths{T, T - 7};
  std::array<std::int64_t, B + 1> offsets{0, T, 2 * T};
  std::vector<std::int32_t> places;

  Inputs() {
    for (std::int64_t s = 0; s < kSlots; ++s)
      slots.push_back(numbers(kShard, 20 + static_cast<std::uint64_t>(s)));
    for (std::int64_t m = 0; m < M; ++m) {
      ids.push_back(m % 16 == 15 ? 0 : 1 + m * 31 % (V - 1));
      places.push_back(static_cast<std::int32_t>(m % T));
    }
    for (float& v : second) v *= v;  // the second moment is positive
  }
};

Inputs& in() {
  static Inputs inputs;
  return inputs;
}

/// Causal self attention of packed q, k and v.
op::AttentionInputs<float> attention() {
  const float* q = in().packed.data();
  return {.q = q,
          .k = q + D,
          .v = q + 2 * D,
          .q_stride = 3 * D,
          .kv_stride = 3 * D,
          .query_offsets = in().offsets.data(),
          .key_offsets = in().offsets.data(),
          .batch = B,
          .heads = H,
          .queries = T,
          .keys = T,
          .width = K,
          .rule = kCausal,
          .scale = 0.125F,
          .dropout = kDropout,
          .scratch = in().scratch.data()};
}

void feed_tree(std::int64_t ranks) {
  zero::SlotTree tree(SlotDealing{kSlots, ranks}.ends(), kShard);
  for (std::int64_t at = 0; at < kSlots; at += ranks) {
    std::vector<const float*> pieces;
    for (std::int64_t r = 0; r < ranks; ++r)
      pieces.push_back(in().slots[static_cast<std::size_t>(at + r)].data());
    tree.add<float>(at, pieces, 0, kShard, in().parameters.data());
  }
}

void optimize(config::OptimizerKind kind) {
  zero::OptimizerStep step{{}, 1e-3, 0.5, 10};
  step.settings.name = kind;
  zero::apply_update(zero::update_factors(step), {.weights = in().parameters.data(),
                                                  .gradients = in().gradients.data(),
                                                  .states = {in().first.data(), in().second.data()},
                                                  .count = kShard});
}

double unused = 0;

struct Kernel {
  const char* name;
  void (*call)();
};

const Kernel kKernels[] = {
    {"add_dropout",
     [] {
       model::compute(op::AddDropout<float>{.x = in().x.data(),
                                            .s = in().y.data(),
                                            .y = in().z.data(),
                                            .count = M * D,
                                            .dropout = kDropout});
     }},
    {"apply_dropout",
     [] {
       model::compute(op::ApplyDropout<float>{
           .x = in().x.data(), .out = in().z.data(), .count = M * D, .dropout = kDropout});
     }},
    {"bias_relu_dropout",
     [] {
       model::compute(op::BiasReluDropout<float>{.h = in().x.data(),
                                                 .bias = in().gamma.data(),
                                                 .rows = M,
                                                 .columns = D,
                                                 .dropout = kDropout});
     }},
    {"relu_dropout_backward",
     [] {
       model::compute(op::ReluDropoutBackward<float>{
           .h = in().x.data(), .g = in().z.data(), .count = M * D, .dropout = kDropout});
     }},
    {"add_column_sums",
     [] {
       model::compute(op::AddColumnSums<float>{
           .x = in().x.data(), .out = in().sums.data(), .rows = M, .columns = D});
     }},
    {"add_to",
     [] {
       model::compute(op::AddTo<float>{.y = in().y.data(), .x = in().x.data(), .count = M * D});
     }},
    {"layer_norm",
     [] {
       model::compute(op::LayerNorm<float>{.x = in().x.data(),
                                           .gamma = in().gamma.data(),
                                           .beta = in().beta.data(),
                                           .y = in().z.data(),
                                           .mean = in().mean.data(),
                                           .rstd = in().rstd.data(),
                                           .rows = M,
                                           .columns = D});
     }},
    {"layer_norm_backward",
     [] {
       model::compute(op::LayerNormBackward<float>{.g = in().y.data(),
                                                   .x = in().x.data(),
                                                   .gamma = in().gamma.data(),
                                                   .mean = in().mean.data(),
                                                   .rstd = in().rstd.data(),
                                                   .g_x = in().z.data(),
                                                   .g_gamma = in().gamma.data(),
                                                   .g_beta = in().beta.data(),
                                                   .rows = M,
                                                   .columns = D});
     }},
    {"rms_norm",
     [] {
       model::compute(op::RmsNorm<float>{.x = in().x.data(),
                                         .gamma = in().gamma.data(),
                                         .y = in().z.data(),
                                         .rstd = in().rstd.data(),
                                         .rows = M,
                                         .columns = D,
                                         .stride = D});
     }},
    {"rms_norm_backward",
     [] {
       model::compute(op::RmsNormBackward<float>{.g = in().y.data(),
                                                 .x = in().x.data(),
                                                 .gamma = in().gamma.data(),
                                                 .rstd = in().rstd.data(),
                                                 .g_x = in().z.data(),
                                                 .g_gamma = in().sums.data(),
                                                 .rows = M,
                                                 .columns = D,
                                                 .stride = D});
     }},
    {"gelu",
     [] {
       model::compute(op::Activate<float>{
           .z = in().x.data(), .y = in().z.data(), .count = M * D, .dropout = kDropout});
     }},
    {"gelu_backward",
     [] {
       model::compute(op::ActivateBackward<float>{
           .z = in().x.data(), .g = in().z.data(), .count = M * D, .dropout = kDropout});
     }},
    {"swiglu",
     [] {
       model::compute(op::Activate<float>{.z = in().x.data(),
                                          .up = in().y.data(),
                                          .y = in().z.data(),
                                          .count = M * D,
                                          .kind = runtime::ActivationKind::kSwish,
                                          .dropout = kDropout});
     }},
    {"masked_softmax",
     [] {
       model::compute(op::MaskedSoftmax<float>{.scores = in().scores.data(),
                                               .key_lengths = in().lengths.data(),
                                               .batch = B,
                                               .heads = H,
                                               .queries = T,
                                               .keys = T});
     }},
    {"masked_softmax_causal",
     [] {
       model::compute(op::MaskedSoftmax<float>{.scores = in().scores.data(),
                                               .rule = kCausal,
                                               .batch = B,
                                               .heads = H,
                                               .queries = T,
                                               .keys = T});
     }},
    {"softmax_dropout_backward",
     [] {
       model::compute(op::SoftmaxDropoutBackward<float>{.p = in().probabilities.data(),
                                                        .g = in().scores.data(),
                                                        .rows = B * H * T,
                                                        .keys = T,
                                                        .dropout = kDropout});
     }},
    {"split_heads",
     [] {
       model::compute(op::SplitHeads<float>{.x = in().packed.data() + D,
                                            .offsets = in().offsets.data(),
                                            .out = in().z.data(),
                                            .batch = B,
                                            .length = T,
                                            .heads = H,
                                            .width = K,
                                            .stride = 3 * D,
                                            .scale = 0.125F});
     }},
    {"merge_heads",
     [] {
       model::compute(op::MergeHeads<float>{.h = in().z.data(),
                                            .offsets = in().offsets.data(),
                                            .x = in().packed.data() + D,
                                            .batch = B,
                                            .length = T,
                                            .heads = H,
                                            .width = K,
                                            .stride = 3 * D,
                                            .scale = 0.125F});
     }},
    {"attention",
     [] { model::compute(op::Attention<float>{.inputs = attention(), .out = in().z.data()}); }},
    {"attention_backward",
     [] {
       float* g_q = in().of_packed.data();
       model::compute(op::AttentionBackward<float>{.inputs = attention(),
                                                   .g = in().x.data(),
                                                   .g_q = g_q,
                                                   .g_k = g_q + D,
                                                   .g_v = g_q + 2 * D});
     }},
    {"embed",
     [] {
       model::compute(op::Embed<float>{.weight = in().table.data(),
                                       .ids = in().ids.data(),
                                       .position = in().y.data(),
                                       .places = in().places.data(),
                                       .y = in().z.data(),
                                       .rows = M,
                                       .width = D,
                                       .scale = 22.6F,
                                       .dropout = kDropout});
     }},
    {"embed_backward",
     [] {
       model::compute(op::EmbedBackward<float>{.g = in().x.data(),
                                               .ids = in().ids.data(),
                                               .g_weight = in().table.data(),
                                               .rows = M,
                                               .width = D,
                                               .scale = 22.6F,
                                               .dropout = kDropout});
     }},
    {"cross_entropy",
     [] {
       model::compute(op::CrossEntropy<float>{.logits = in().logits.data(),
                                              .labels = in().ids.data(),
                                              .row_losses = in().losses.data(),
                                              .rows = M,
                                              .vocabulary = V,
                                              .smoothing = 0.1F,
                                              .g_scale = 1e-3F});
     }},
    {"adam", [] { optimize(config::OptimizerKind::kAdam); }},
    {"sgd", [] { optimize(config::OptimizerKind::kSgd); }},
    {"block_square_sums",
     [] { zero::block_square_sums(in().gradients.data(), kShard / 256, in().blocks.data()); }},
    {"slot_tree_one_round", [] { feed_tree(kSlots); }},
    {"slot_tree_four_rounds", [] { feed_tree(kSlots / 4); }},
    {"crc32c", [] { unused += crc32c(std::as_bytes(std::span(in().gradients))); }},
    {"hash_bytes",
     [] { unused += static_cast<double>(hash_bytes(std::as_bytes(std::span(in().x)))); }},
};

}  // namespace

/// callgrind starts and stops counting at this name.
extern "C" [[gnu::noinline]] void th_measured(void (*kernel)()) {
  kernel();
  asm volatile("" ::: "memory");  // the call above stays a call
}

int main(int argc, char** argv) {
  if (argc == 1) {
    std::printf("%s\n", instruction_set().c_str());
    for (const Kernel& kernel : kKernels) std::printf("%s\n", kernel.name);
    return 0;
  }
  (void)in();
  // Tables are chosen once a program, not once a kernel.
  (void)model::host_ops<float>();
  zero::block_square_sums(nullptr, 0, nullptr);
  for (const Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, argv[1]) != 0) continue;
    th_measured(kernel.call);
    std::printf("%.17g\n", unused);
    return 0;
  }
  std::fprintf(stderr, "there is no kernel '%s'\n", argv[1]);
  return 2;
}
