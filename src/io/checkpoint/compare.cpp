#include "th/io/checkpoint/compare.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "th/base/error.hpp"

namespace th::io {
namespace {

/// A value's place among all fp32 values.
std::int64_t place(std::uint32_t bits) {
  const auto magnitude = static_cast<std::int64_t>(bits & 0x7fffffffU);
  return (bits >> 31) != 0 ? -magnitude : magnitude;
}

}  // namespace

void compare(std::span<const float> a, std::span<const float> b, Difference& difference) {
  ensure(a.size() == b.size(), "compare: the spans differ in length");
  difference.count += std::ssize(a);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = std::bit_cast<std::uint32_t>(a[i]);
    const auto y = std::bit_cast<std::uint32_t>(b[i]);
    if (x == y) continue;
    ++difference.differing;
    if (std::isnan(a[i]) || std::isnan(b[i])) {
      difference.nan_in_a += std::isnan(b[i]) ? 0 : 1;
      difference.nan_in_b += std::isnan(a[i]) ? 0 : 1;
      continue;
    }
    difference.largest = std::max(difference.largest,
                                  std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    difference.ulps = std::max(difference.ulps, std::abs(place(x) - place(y)));
  }
}

std::string vocabulary_difference(const std::vector<std::string>& a, const std::string& a_name,
                                  const std::vector<std::string>& b, const std::string& b_name) {
  if (a == b) return "";
  const auto at = [](const std::vector<std::string>& tokens, std::size_t id) {
    return id < tokens.size() ? "'" + tokens[id] + "'" : std::string("nothing");
  };
  std::size_t differing = 0, first = 0;
  for (std::size_t id = 0; id < std::max(a.size(), b.size()); ++id) {
    if (id < a.size() && id < b.size() && a[id] == b[id]) continue;
    if (differing++ == 0) first = id;
  }
  return std::to_string(a.size()) + " tokens in " + a_name + ", " + std::to_string(b.size()) +
         " in " + b_name + "; " + std::to_string(differing) + " differ, the first at id " +
         std::to_string(first) + ": " + at(a, first) + " in " + a_name + ", " + at(b, first) +
         " in " + b_name;
}

std::string tokenizer_difference(const data::SavedTokenizer& a, const std::string& a_name,
                                 const data::SavedTokenizer& b, const std::string& b_name) {
  const std::string tokens = vocabulary_difference(a.tokens, a_name, b.tokens, b_name);
  if (!tokens.empty() || a.model == b.model) return tokens;
  return "the same tokens, of one tokenizer's model in " + a_name + " and of another in " + b_name;
}

std::string shape_to_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const auto size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace th::io
