#pragma once

#include <cstdint>
#include <span>
#include <vector>

// Learns translations of words from sentence pairs by IBM model 1 (Brown et al. 1993), which
// ignores the order of words. One thread adds in a fixed order, so the same pairs give the same
// bits.
namespace th::data {

/// Sentence pairs to learn from, as ids in memory. An id takes 4 bytes, a pair 16 more.
class IdPairs {
 public:
  /// Appends a pair without its special ids. A pair that has no other ids on a side is left out.
  void add(std::span<const std::int32_t> source, std::span<const std::int32_t> target);
  [[nodiscard]] std::int64_t size() const noexcept { return std::ssize(source_end_) - 1; }
  [[nodiscard]] std::span<const std::int32_t> source(std::int64_t pair) const {
    return part(source_, source_end_, pair);
  }
  [[nodiscard]] std::span<const std::int32_t> target(std::int64_t pair) const {
    return part(target_, target_end_, pair);
  }
  /// Where a pair's target ids begin among all of them.
  [[nodiscard]] std::int64_t target_begin(std::int64_t pair) const {
    return target_end_[static_cast<std::size_t>(pair)];
  }
  [[nodiscard]] const std::vector<std::int32_t>& all_sources() const noexcept { return source_; }
  [[nodiscard]] const std::vector<std::int32_t>& all_targets() const noexcept { return target_; }

 private:
  [[nodiscard]] static std::span<const std::int32_t> part(const std::vector<std::int32_t>& ids,
                                                          const std::vector<std::int64_t>& ends,
                                                          std::int64_t pair) {
    const auto begin = static_cast<std::size_t>(ends[static_cast<std::size_t>(pair)]);
    const auto end = static_cast<std::size_t>(ends[static_cast<std::size_t>(pair) + 1]);
    return std::span(ids).subspan(begin, end - begin);
  }

  std::vector<std::int32_t> source_, target_;
  std::vector<std::int64_t> source_end_{0}, target_end_{0};
};

/// A target id with its probability, given a source id.
struct WordTranslation {
  std::int32_t id = 0;
  float probability = 0;
};

/// How many translations of each source id are kept between two iterations, which bounds the
/// memory.
inline constexpr std::int64_t kKeptTranslations = 1024;

/// The likeliest translations of each source id, by falling probability, equal ones by id. They are
/// those after so many iterations (at least 1) of expectation maximisation from equal
/// probabilities. Each source sentence has the empty word beside its own words.
[[nodiscard]] std::vector<std::vector<WordTranslation>> learn_translations(
    const IdPairs& pairs, std::int64_t source_vocabulary, std::int64_t target_vocabulary,
    std::int64_t iterations);

}  // namespace th::data
