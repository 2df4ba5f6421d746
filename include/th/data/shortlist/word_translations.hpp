#pragma once

#include <cstdint>
#include <span>
#include <vector>

// What words mean, learned from sentence pairs: IBM model 1 (Brown et al. 1993), which knows no
// order of words. One thread, sums in a fixed order: the same pairs give the same bits.
namespace th::data {

/// Sentence pairs to learn from, as ids in memory: 4 bytes an id, 16 a pair.
class IdPairs {
 public:
  /// Appends a pair without its special ids; one without other ids on a side is left out.
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

/// The translations of each source id that a model 1 keeps between two iterations: so much bounds
/// its memory.
inline constexpr std::int64_t kKeptTranslations = 1024;

/// By source id the likeliest translations, by falling probability, equal ones by id, after so many
/// iterations of expectation maximisation (at least 1) from equal probabilities. Each source
/// sentence has the empty word beside its own.
[[nodiscard]] std::vector<std::vector<WordTranslation>> learn_translations(
    const IdPairs& pairs, std::int64_t source_vocabulary, std::int64_t target_vocabulary,
    std::int64_t iterations);

}  // namespace th::data
