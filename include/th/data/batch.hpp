#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {

/// One micro-batch of B sentence pairs, packed: a sentence's ids follow those of the one before,
/// without padding. `target_in` is begin + words, `target_out` words + end. An empty one has B = 0.
struct Batch {
  std::int64_t sentences = 0;                ///< B
  std::int64_t source_length = 0;            ///< S, the longest source
  std::int64_t target_length = 0;            ///< T, the longest decoder input
  std::vector<std::int64_t> source;          ///< source_tokens
  std::vector<std::int64_t> target_in;       ///< target_tokens
  std::vector<std::int64_t> target_out;      ///< target_tokens
  std::vector<std::int32_t> source_lengths;  ///< B
  std::vector<std::int32_t> target_lengths;  ///< B
  std::int64_t source_tokens = 0;            ///< sum of source_lengths
  std::int64_t target_tokens = 0;  ///< sum of target_lengths, the tokens that the loss counts

  /// Appends a pair: `source_ids` words and end, `target_ids` begin, words and end, or empty where
  /// only the source is known.
  void append(std::span<const std::int32_t> source_ids, std::span<const std::int32_t> target_ids);
};

/// What one rank computes in one optimizer step, and the counts over all ranks.
struct StepBatches {
  std::int64_t epoch = 0;
  std::int64_t step_in_epoch = 0;
  /// This rank's slots by pass (SlotDealing).
  std::vector<Batch> rounds;
  std::int64_t source_tokens = 0;  ///< over all slots of the step
  std::int64_t target_tokens = 0;  ///< over all slots: the loss divides by it
  /// Over all slots: rows that linear layers compute, padding included.
  std::int64_t padded_tokens = 0;
  /// Over all slots: attention scores of a head in one layer of each stack, without padding.
  std::int64_t score_cells = 0;
  std::int64_t padded_score_cells = 0;  ///< the same, padding included
};

/// Consecutive sentences whose attention is one batched product, padded to these lengths.
struct SentenceGroup {
  std::int64_t first = 0, sentences = 0, source_length = 0, target_length = 0;
  friend bool operator==(const SentenceGroup&, const SentenceGroup&) = default;
};

/// The groups of a batch: kGroupSentences each, padded to the next multiple of kGroupLength at or
/// above the group's longest, and not beyond the batch's longest. Groups have few sentences, so
/// that different lengths cost little, and few lengths, so that compiled products are used again.
/// Sentences that all have the same lengths are one group.
inline constexpr std::int64_t kGroupSentences = 16, kGroupLength = 8;
[[nodiscard]] std::vector<SentenceGroup> sentence_groups(
    std::span<const std::int32_t> source_lengths, std::span<const std::int32_t> target_lengths);

/// The lengths of a batch's sentences, on which the memory of a pass over it depends.
class BatchShape {
 public:
  BatchShape() = default;
  /// Each list has one length for each sentence.
  BatchShape(std::vector<std::int32_t> source_lengths, std::vector<std::int32_t> target_lengths);
  [[nodiscard]] static BatchShape uniform(std::int64_t sentences, std::int64_t source_length,
                                          std::int64_t target_length);

  [[nodiscard]] std::int64_t sentences() const noexcept { return std::ssize(source_lengths_); }
  [[nodiscard]] const std::vector<std::int32_t>& source_lengths() const noexcept {
    return source_lengths_;
  }
  [[nodiscard]] const std::vector<std::int32_t>& target_lengths() const noexcept {
    return target_lengths_;
  }
  [[nodiscard]] std::int64_t source_tokens() const noexcept { return sizes_[kSourceRows]; }
  [[nodiscard]] std::int64_t target_tokens() const noexcept { return sizes_[kTargetRows]; }
  /// Attention scores of a head in one layer of each stack, padding included.
  [[nodiscard]] std::int64_t score_cells() const noexcept {
    return sizes_[kSourceScores] + sizes_[kTargetScores] + sizes_[kCrossScores];
  }
  /// The same without padding.
  [[nodiscard]] std::int64_t real_score_cells() const;
  /// Whether no tensor of a pass over this shape is larger than the one over `other`.
  [[nodiscard]] bool within(const BatchShape& other) const noexcept;
  friend bool operator==(const BatchShape&, const BatchShape&) = default;

 private:
  /// Rows, rows padded to groups, and scores padded to groups. Sizes of tensors are multiples of
  /// these.
  enum Size : std::size_t {
    kSourceRows,
    kTargetRows,
    kSourceCells,
    kTargetCells,
    kSourceScores,
    kTargetScores,
    kCrossScores,
    kSizes
  };
  std::vector<std::int32_t> source_lengths_, target_lengths_;
  std::array<std::int64_t, kSizes> sizes_{};
};
/// Adds a shape, unless it is within one of `shapes`, and removes those that are within it.
void keep_largest(std::vector<BatchShape>& shapes, const BatchShape& shape);

}  // namespace th::data
