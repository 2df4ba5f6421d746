#pragma once

#include <cstdint>

// Row kernels of decoding, for elements T: float, Bf16, Fp16. Arithmetic is fp32; each row's result
// depends on the row alone, never on which rows stand beside it.
namespace th::model {

/// Floats of scratch that attend_one takes.
[[nodiscard]] constexpr std::int64_t attend_scratch(std::int64_t keys, std::int64_t heads,
                                                    std::int64_t width) {
  return heads * (keys + 2 * width);
}

/// Scaled dot-product attention (Vaswani et al. 2017, 3.2.1) of one query over `keys` cached
/// positions, H heads of width K: position s is pairs[s], [2*H*K], its keys, then its values. query
/// and out [H*K], heads side by side.
template <typename T>
void attend_one(const T* query, const T* const* pairs, std::int64_t keys, std::int64_t heads,
                std::int64_t width, float* scratch, T* out);

/// log p[v] of a row of logits is logits[v] - top - log_sum, natural logarithm.
struct RowNormalizer {
  double top = 0, log_sum = 0;
  bool finite = false;  ///< whether every logit is a finite number
  [[nodiscard]] double log_probability(float logit) const {
    return (static_cast<double>(logit) - top) - log_sum;
  }
};
template <typename T>
[[nodiscard]] RowNormalizer normalizer_of(const T* logits, std::int64_t vocabulary);

}  // namespace th::model
