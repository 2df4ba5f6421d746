#pragma once

#include <cstdint>
#include <functional>

#include "th/base/dropout.hpp"
#include "th/runtime/ops/score_rule.hpp"

namespace th::op {

/// Scaled dot-product attention (Vaswani et al. 2017, 3.2) of packed rows in one kernel: B
/// sentences, H heads of width K, T queries and S keys in the longest. Row r of head h lies at q +
/// r * q_stride + h * K; sentence b has the query rows [query_offsets[b], query_offsets[b+1]) and
/// the key rows of key_offsets. The rule says which keys of its sentence a query sees. The draw of
/// a probability is that of its index in [B, H, T, S].
template <typename T>
struct AttentionInputs {
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  std::int64_t q_stride = 0, kv_stride = 0;
  const std::int64_t *query_offsets = nullptr, *key_offsets = nullptr;  ///< [B+1] each
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0, width = 0;
  runtime::ScoreRule rule = {};
  float scale = 1;  ///< of the queries
  Dropout dropout = {};
  float* scratch = nullptr;  ///< on the host: host_attention_scratch() floats for each thread
  /// The host's forward pass of a long sentence calls it between blocks of queries, from several
  /// threads. If it returns true, the pass ends and leaves the rest of `out` unwritten. May be
  /// null.
  const std::function<bool()>* stop = nullptr;
};

/// out [query rows, H*K]: the heads' results. On the host for all types and sizes. On a GPU for
/// 16-bit types, for sizes that fuses_attention() takes and rows that begin at 16 bytes: products
/// of 16-bit operands with fp32 sums, fp32 scores; probabilities are rounded to T before and after
/// their draws.
template <typename T>
struct Attention {
  AttentionInputs<T> inputs;
  T* out = nullptr;
};

/// Gradients of q [query rows], k and v [key rows], with the inputs' strides, from that of `out`, g
/// [query rows, H*K]. Probabilities are computed again.
template <typename T>
struct AttentionBackward {
  AttentionInputs<T> inputs;
  const T* g = nullptr;
  T *g_q = nullptr, *g_k = nullptr, *g_v = nullptr;
};

}  // namespace th::op

namespace th::runtime {

/// How many queries of a short sentence the host takes at a time: whole tiles of 6 and of 8 rows.
inline constexpr std::int64_t kAttentionQueries = 48;

/// How many keys of a long sentence the host takes at a time: whole tiles of rows, whole vectors.
inline constexpr std::int64_t kAttentionKeys = 96;

/// How many queries of a long sentence the host takes at a time: their scores must fit into the
/// second-level cache.
[[nodiscard]] constexpr std::int64_t queries_of_block(std::int64_t keys) {
  return keys <= 256 ? 96 : 48;
}
inline constexpr std::int64_t kMostQueriesOfBlock = 96;

/// Whether the host takes a sentence in blocks of keys as well as of queries. It does so if there
/// are so many that laying out the keys pays, which it does not for a single block of queries,
/// unless the keys fill the caches.
[[nodiscard]] constexpr bool takes_blocks(std::int64_t queries, std::int64_t keys) {
  return keys > 2048 || (keys > 48 && queries > kAttentionQueries);
}

/// `n` rounded up to vectors of 16 floats.
[[nodiscard]] constexpr std::int64_t whole_lanes(std::int64_t n) { return (n + 15) / 16 * 16; }

/// Floats between rows of scores of a block of queries of a long sentence: the keys from the first
/// that the block's first query sees to the last of its last query, in lines of 16 floats; an odd
/// number of lines, so that rows don't share a cache's sets.
[[nodiscard]] constexpr std::int64_t score_pitch(ScoreRule rule, std::int64_t queries,
                                                 std::int64_t keys) {
  const std::int64_t block = queries_of_block(keys);
  std::int64_t most = 0;
  for (std::int64_t first = 0; first < queries; first += block) {
    const std::int64_t last = (first + block < queries ? first + block : queries) - 1;
    const std::int64_t span =
        whole_lanes(rule.keys(last, keys).end) - rule.keys(first, keys).begin / 16 * 16;
    most = span > most ? span : most;
  }
  return (most / 16 | 1) * 16;
}

/// Floats for a short sentence and head: keys and values transposed, probabilities before and after
/// their draws and their gradients; and rows and sums, where these are not fp32 of whole vectors in
/// the operands.
[[nodiscard]] constexpr std::int64_t short_attention_scratch(std::int64_t keys,
                                                             std::int64_t width) {
  const std::int64_t s = whole_lanes(keys), w = whole_lanes(width);
  return 2 * w * s + 3 * kAttentionQueries * s + 4 * s * w + 3 * kAttentionQueries * w;
}

/// How many keys the host lays out, under a local rule, beyond those that a block of queries sees.
/// When the next block needs others, the window moves on, and keys that stay are copied.
inline constexpr std::int64_t kKeysAhead = 1024;

/// How many keys of a long sentence the host lays out at a time: all, in whole panels of 16, but
/// under a local rule no more than stay in the caches.
[[nodiscard]] constexpr std::int64_t keys_held(ScoreRule rule, std::int64_t queries,
                                               std::int64_t keys) {
  const std::int64_t all = whole_lanes(keys);
  if (!rule.local()) return all;
  const std::int64_t few = score_pitch(rule, queries, keys) + kKeysAhead;
  return few < all ? few : all;
}

/// Floats for a long sentence and head: keys, both ways, values transposed and two sums, in panels;
/// probabilities and gradients of a block of queries, draws of a block of keys; rows.
[[nodiscard]] constexpr std::int64_t long_attention_scratch(ScoreRule rule, std::int64_t queries,
                                                            std::int64_t keys, std::int64_t width) {
  const std::int64_t w = whole_lanes(width);
  return 5 * keys_held(rule, queries, keys) * w +
         2 * queries_of_block(keys) * score_pitch(rule, queries, keys) +
         kMostQueriesOfBlock * (kAttentionKeys + 16 + 3 * w) + 16 * w;
}

/// Floats that one thread of the host takes for any sentence and head of up to `queries` queries
/// and `keys` keys of `width`.
[[nodiscard]] constexpr std::int64_t host_attention_scratch(ScoreRule rule, std::int64_t queries,
                                                            std::int64_t keys, std::int64_t width) {
  if (!takes_blocks(queries, keys)) return short_attention_scratch(keys, width);
  const std::int64_t sizes[] = {
      short_attention_scratch(keys < 2048 ? keys : 2048, width),
      long_attention_scratch(rule, queries, keys < 256 ? keys : 256, width),
      long_attention_scratch(rule, queries, keys, width)};
  std::int64_t most = 0;
  for (const std::int64_t size : sizes) most = size > most ? size : most;
  return most;
}

/// Bytes of fast memory that one sentence and head take in the forward pass, and in the backward
/// pass: 16-bit elements, rows in whole matrix instructions (16) and 8 elements apart, fp32 sums.
struct FusedAttentionBytes {
  std::int64_t forward = 0, backward = 0;
};
[[nodiscard]] constexpr FusedAttentionBytes fused_attention_bytes(std::int64_t queries,
                                                                  std::int64_t keys,
                                                                  std::int64_t width) {
  const auto padded = [](std::int64_t n) { return (n + 15) / 16 * 16; };
  const std::int64_t t = padded(queries), s = padded(keys);
  const std::int64_t of_rows = 2 * (width + 8), of_scores = 2 * t * (s + 8);
  const std::int64_t sums = 4 * (t > s ? t : s) * ((s > width ? s : width) + 4);
  const std::int64_t forward = (t + 2 * s) * of_rows + of_scores + sums;
  return {forward, forward + t * of_rows + 2 * of_scores};
}

/// Fast memory of a block on GPUs of computing centres (compute capability 8.0, 9.0).
inline constexpr int kFusedAttentionBytes = 160 << 10;

/// Whether a GPU's kernels take attention of this size: a thread block's memory must suffice, and
/// heads must be whole matrix instructions.
[[nodiscard]] constexpr bool fuses_attention(std::int64_t queries, std::int64_t keys,
                                             std::int64_t width) {
  return width % 16 == 0 &&
         fused_attention_bytes(queries, keys, width).backward <= kFusedAttentionBytes;
}

}  // namespace th::runtime
