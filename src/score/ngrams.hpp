#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace th::score {

/// Up to six units that follow each other, unused places 0; units are numbered from 1.
using Ngram = std::array<std::uint32_t, 6>;

/// All n-grams of that order, sorted, one as often as it occurs.
[[nodiscard]] std::vector<Ngram> sorted_ngrams(std::span<const std::uint32_t> units, std::size_t n);
/// The sum over n-grams of the lesser of their counts in both, each sorted.
[[nodiscard]] std::int64_t matches(std::span<const Ngram> a, std::span<const Ngram> b);

/// Numbers words, equal ones alike.
class Numbering {
 public:
  [[nodiscard]] std::uint32_t operator()(std::u32string_view word);

 private:
  std::map<std::u32string, std::uint32_t, std::less<>> numbers_;
};

}  // namespace th::score
