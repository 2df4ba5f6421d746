#include "score/ngrams.hpp"

#include <algorithm>

namespace th::score {

std::vector<Ngram> sorted_ngrams(std::span<const std::uint32_t> units, std::size_t n) {
  std::vector<Ngram> all;
  if (units.size() >= n) all.reserve(units.size() - n + 1);
  for (std::size_t i = 0; i + n <= units.size(); ++i) {
    Ngram& gram = all.emplace_back();
    std::copy_n(units.begin() + static_cast<std::ptrdiff_t>(i), n, gram.begin());
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::int64_t matches(std::span<const Ngram> a, std::span<const Ngram> b) {
  std::int64_t count = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) {
      ++count;
      ++i;
      ++j;
    } else if (a[i] < b[j]) {
      ++i;
    } else {
      ++j;
    }
  }
  return count;
}

std::uint32_t Numbering::operator()(std::u32string_view word) {
  const auto found = numbers_.find(word);
  if (found != numbers_.end()) return found->second;
  const auto number = static_cast<std::uint32_t>(numbers_.size() + 1);
  numbers_.emplace(word, number);
  return number;
}

}  // namespace th::score
