// th_callgrind_kernels [KERNEL]: calls one of our kernels once on a fixed input, for `valgrind
// --tool=callgrind`; check_counts.py counts what th_measured executes. Without an argument: the
// instruction set that the kernels run with, then the kernels' names. Without LibTorch and MPI.
#include "th/model/ops/kernels.hpp"
#include "model/ops/host_attention.hpp"
#include "th/base/build_info.hpp"
#include "th/base/hash.hpp"
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
constexpr model::Dropout kDropout{7, 0.1F};

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
                                             runtime::host_attention_scratch(T, K)));
  std::vector<float> table = numbers(V * D, 12), logits = numbers(M * V, 13);
  std::vector<float> parameters = numbers(kShard, 14), gradients = numbers(kShard, 15),
                     first = numbers(kShard, 16), second = numbers(kShard, 17);
  std::vector<std::vector<float>> slots;
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
runtime::AttentionOperands<float> attention() {
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
          .causal = true,
          .scale = 0.125F,
          .dropout = kDropout};
}
model::HeadRange heads() { return {0, B * H, in().scratch.data()}; }

void feed_tree(std::int64_t ranks) {
  zero::SlotTree tree(kSlots, ranks, kShard);
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
     [] { model::add_dropout(in().x.data(), in().y.data(), in().z.data(), M * D, kDropout); }},
    {"dropout_backward",
     [] { model::dropout_backward(in().x.data(), in().z.data(), M * D, kDropout); }},
    {"apply_dropout", [] { model::apply_dropout(in().x.data(), in().z.data(), M * D, kDropout); }},
    {"bias_relu_dropout",
     [] { model::bias_relu_dropout(in().x.data(), in().gamma.data(), M, D, kDropout); }},
    {"relu_dropout_backward",
     [] { model::relu_dropout_backward(in().x.data(), in().z.data(), M * D, kDropout); }},
    {"add_column_sums", [] { model::add_column_sums(in().x.data(), in().sums.data(), M, D); }},
    {"add_to", [] { model::add_to(in().y.data(), in().x.data(), M * D); }},
    {"layer_norm",
     [] {
       model::layer_norm(in().x.data(), in().gamma.data(), in().beta.data(), in().z.data(),
                         in().mean.data(), in().rstd.data(), M, D);
     }},
    {"layer_norm_backward",
     [] {
       model::layer_norm_backward(in().y.data(), in().x.data(), in().gamma.data(), in().mean.data(),
                                  in().rstd.data(), in().z.data(), in().gamma.data(),
                                  in().beta.data(), M, D);
     }},
    {"masked_softmax",
     [] {
       model::masked_softmax(in().scores.data(), B, H, T, T, {in().lengths.data(), false});
     }},
    {"masked_softmax_causal",
     [] {
       model::masked_softmax(in().scores.data(), B, H, T, T, {nullptr, true});
     }},
    {"softmax_dropout_backward",
     [] {
       model::softmax_dropout_backward(in().probabilities.data(), in().scores.data(), B * H * T, T,
                                       kDropout);
     }},
    {"split_heads",
     [] {
       model::split_heads(in().packed.data() + D, in().offsets.data(), in().z.data(), B, T, H, K,
                          3 * D, 0.125F);
     }},
    {"merge_heads",
     [] {
       model::merge_heads(in().z.data(), in().offsets.data(), in().packed.data() + D, B, T, H, K,
                          3 * D, 0.125F);
     }},
    {"attention", [] { model::host_attention(attention(), in().z.data(), heads()); }},
    {"attention_backward",
     [] {
       float* g_q = in().of_packed.data();
       model::host_attention_backward(attention(), in().x.data(), g_q, g_q + D, g_q + 2 * D,
                                      heads());
     }},
    {"embed",
     [] {
       model::embed(in().table.data(), in().ids.data(), in().y.data(), in().places.data(),
                    in().z.data(), M, D, 22.6F, kDropout);
     }},
    {"embed_backward",
     [] {
       model::embed_backward(in().x.data(), in().ids.data(), in().table.data(), M, D, 22.6F,
                             kDropout);
     }},
    {"cross_entropy",
     [] {
       unused += model::cross_entropy(in().logits.data(), in().ids.data(), M, V, 0.1F, 1e-3F);
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
  for (const Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, argv[1]) != 0) continue;
    th_measured(kernel.call);
    std::printf("%.17g\n", unused);
    return 0;
  }
  std::fprintf(stderr, "there is no kernel '%s'\n", argv[1]);
  return 2;
}
