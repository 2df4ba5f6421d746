#pragma once

#include <cstdint>
#include <vector>

namespace th::data {

/// Ids that every tokenizer shares.
inline constexpr std::int32_t kPad = 0;
inline constexpr std::int32_t kUnknown = 1;
inline constexpr std::int32_t kBegin = 2;
inline constexpr std::int32_t kEnd = 3;

/// One micro-batch (slot) of padded id matrices, row-major. B sentences, S the longest source, T the longest decoder input.
/// `target_in` is begin + words, `target_out` words + end; padding is kPad. An empty slot has B = 0.
struct Batch {
  std::int64_t sentences = 0;      ///< B
  std::int64_t source_length = 0;  ///< S
  std::int64_t target_length = 0;  ///< T
  std::vector<std::int64_t> source;         ///< B*S
  std::vector<std::int64_t> target_in;      ///< B*T
  std::vector<std::int64_t> target_out;     ///< B*T
  std::vector<std::int32_t> source_lengths; ///< B, real tokens a row
  std::vector<std::int32_t> target_lengths; ///< B
  std::int64_t source_tokens = 0;  ///< sum of source_lengths
  std::int64_t target_tokens = 0;  ///< sum of target_lengths, the tokens that the loss counts
};

/// What one rank computes in one optimizer step, and what all ranks agree on about it.
struct StepBatches {
  std::int64_t epoch = 0;
  std::int64_t step_in_epoch = 0;
  std::vector<Batch> rounds;            ///< this rank's slots: slot = round * ranks + rank, those below micro_batches
  std::int64_t source_tokens = 0;       ///< over all slots of the step
  std::int64_t target_tokens = 0;       ///< over all slots: the loss divides by it
  std::int64_t padded_tokens = 0;       ///< (S + T) * B over all slots, padding included
};

/// Rows and columns of a padded micro-batch.
struct BatchShape {
  std::int64_t sentences = 0, source_length = 0, target_length = 0;
  friend bool operator==(const BatchShape&, const BatchShape&) = default;
};
/// Adds a shape unless one that is at least as large in every direction is there; drops those that it outgrows.
void keep_largest(std::vector<BatchShape>& shapes, const BatchShape& shape);

}  // namespace th::data
