#pragma once

#include <cstdint>

#include "th/base/half_float.hpp"
#include "th/runtime/ops/op_table.hpp"
#include "th/runtime/ops/score_rule.hpp"

// Row kernels of decoding, for elements T: float, Bf16, Fp16. Arithmetic is fp32; each row's result
// depends on the row alone, never on which rows stand beside it. A kernel is two files: this one (a
// struct of operands, its place in the list below and what callers call) and its body
// (decoding_kernels.cpp).
namespace th::model {

/// Floats of scratch that attend_one takes.
[[nodiscard]] constexpr std::int64_t attend_scratch(std::int64_t keys, std::int64_t heads,
                                                    std::int64_t width) {
  return heads * (keys + 2 * width);
}

/// Scaled dot-product attention (Vaswani et al. 2017, 3.2.1) of one query over cached positions, H
/// heads of width K: the keys that the rule lets the query see.
template <typename T>
struct AttendOne {
  const T* query = nullptr;         ///< [H*K], heads side by side
  const T* const* pairs = nullptr;  ///< pairs[s] [2*H*K]: the keys, then the values of position
                                    ///< first_key + s
  std::int64_t first_key = 0;       ///< the first position that the query sees
  std::int64_t keys = 0;            ///< how many it sees
  std::int64_t heads = 0, width = 0;
  runtime::ScoreRule rule = {};
  std::int64_t position = 0;  ///< of the query
  float* scratch = nullptr;   ///< attend_scratch() floats
  T* out = nullptr;           ///< [H*K]
};

/// Products of one row with chosen rows of a weight: y[i] = sum over k of x[k] weight[ids[i], k], +
/// bias[ids[i]]. The sum is a fixed tree of lanes, so an element depends on its two rows alone.
template <typename T>
struct ChosenDots {
  const T* x = nullptr;       ///< [K]
  const T* weight = nullptr;  ///< rows `stride` elements apart
  std::int64_t stride = 0, inputs = 0;
  const T* bias = nullptr;            ///< by id, or null
  const std::int32_t* ids = nullptr;  ///< [count]
  std::int64_t count = 0;
  float* y = nullptr;  ///< [count]
};

/// log p[v] of a row of logits is logits[v] - top - log_sum, natural logarithm.
struct RowNormalizer {
  double top = 0, log_sum = 0;
  bool finite = false;  ///< whether every logit is a finite number
  [[nodiscard]] double log_probability(float logit) const {
    return (static_cast<double>(logit) - top) - log_sum;
  }
};

/// Ids whose largest logit a search looks at before it looks at theirs.
inline constexpr std::int64_t kLogitBlock = 64;
[[nodiscard]] constexpr std::int64_t logit_blocks(std::int64_t vocabulary) {
  return (vocabulary + kLogitBlock - 1) / kLogitBlock;
}

/// The normalizer of a row of logits, and on the way the largest logit of each block of kLogitBlock
/// ids.
template <typename T>
struct NormalizeRow {
  const T* logits = nullptr;  ///< [vocabulary]
  std::int64_t vocabulary = 0;
  float* maxima = nullptr;       ///< [logit_blocks(vocabulary)]
  RowNormalizer* out = nullptr;  ///< one
};

/// The kernels of one element type, found by the types of their operands; the stream is no one's.
template <typename T>
using DecodingOps = runtime::OpTableOf<AttendOne<T>, ChosenDots<T>, NormalizeRow<T>>;
/// Of all element types, compiled for one instruction set.
using DecodingTables = runtime::ElementTables<DecodingOps>;

// decoding_kernels.cpp is compiled once for each of these namespaces (cmake/ThIsa.cmake).
namespace avx512 {
extern const DecodingTables kDecodingTables;
}
namespace avx2 {
extern const DecodingTables kDecodingTables;
}
namespace baseline {
extern const DecodingTables kDecodingTables;
}

/// Those for th::instruction_set().
template <typename T>
[[nodiscard]] const DecodingOps<T>& decoding_ops();

template <typename T>
void attend_one(const AttendOne<T>& operands) {
  decoding_ops<T>().run(operands, nullptr);
}
template <typename T>
void chosen_dots(const ChosenDots<T>& operands) {
  decoding_ops<T>().run(operands, nullptr);
}
template <typename T>
[[nodiscard]] RowNormalizer normalizer_of(const T* logits, std::int64_t vocabulary, float* maxima) {
  RowNormalizer normalizer;
  decoding_ops<T>().run(
      NormalizeRow<T>{
          .logits = logits, .vocabulary = vocabulary, .maxima = maxima, .out = &normalizer},
      nullptr);
  return normalizer;
}

}  // namespace th::model
