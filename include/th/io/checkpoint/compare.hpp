#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"

namespace th::io {

/// The differences of two tensors of one shape.
struct Difference {
  double largest = 0;  ///< largest absolute difference, of pairs without a NaN
  /// Largest number of fp32 steps between two values, of pairs without a NaN; +0 and -0 are 0 steps
  /// apart.
  std::int64_t ulps = 0;
  std::int64_t differing = 0;  ///< elements whose bits differ
  std::int64_t nan_in_a = 0;   ///< elements that are NaN only in a
  std::int64_t nan_in_b = 0;   ///< elements that are NaN only in b
  std::int64_t count = 0;
};

/// Counts the pairs a[i], b[i] into `difference`. Spans of equal length.
void compare(std::span<const float> a, std::span<const float> b, Difference& difference);

/// Says how many tokens differ and which is the first; empty if the lists are equal. The text calls
/// the lists `a_name` and `b_name`.
[[nodiscard]] std::string vocabulary_difference(const std::vector<std::string>& a,
                                                const std::string& a_name,
                                                const std::vector<std::string>& b,
                                                const std::string& b_name);
/// The same for tokenizers. If only their models differ, it says so.
[[nodiscard]] std::string tokenizer_difference(const data::SavedTokenizer& a,
                                               const std::string& a_name,
                                               const data::SavedTokenizer& b,
                                               const std::string& b_name);
/// "[3, 4]".
[[nodiscard]] std::string shape_to_text(const std::vector<std::int64_t>& shape);

}  // namespace th::io
