#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/ops/decoding_kernels.hpp"
#include "th/data/batch.hpp"
#include "th/runtime/memory/planned_vector.hpp"

namespace th::model {

/// An id with its logit.
struct Logit {
  float value;
  std::int32_t id;
};
/// The order of choice: larger logits first, equal ones by smaller id.
[[nodiscard]] inline bool likelier(const Logit& a, const Logit& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

/// What a search holds beside a step's logits [R, V]; a plan counts it.
struct ScoreRoom {
  explicit ScoreRoom(const at::Tensor& logits);
  at::Tensor maxima;                           ///< the largest logits of blocks, fp32 [R, blocks]
  runtime::PlannedVector<RowNormalizer> rows;  ///< room for R
};

/// A step's logits [R, V], any element type, with what a search asks of them. The tensor is looked
/// at until the scores' end.
class StepScores {
 public:
  /// Throws NumericsError for logits that are not finite.
  explicit StepScores(const at::Tensor& logits);
  [[nodiscard]] std::int64_t vocabulary() const noexcept { return vocabulary_; }
  /// Natural logarithm, over all ids.
  [[nodiscard]] double log_probability(std::int64_t row, std::int64_t id) const;
  /// The first `count` ids of a row in the order of choice, without those of `barred`, which
  /// ascend; fewer where there are not so many. Themselves in no order. Looks at the largest logits
  /// of blocks first, and only into blocks that may hold one of them; takes best_bytes().
  [[nodiscard]] std::vector<Logit> best(std::int64_t row, std::int64_t count,
                                        std::span<const std::int32_t> barred) const;
  /// All ids of [begin, end) of a row without those of `barred`, which ascend, by id, appended.
  void append(std::int64_t row, std::int64_t begin, std::int64_t end,
              std::span<const std::int32_t> barred, std::vector<Logit>& out) const;

 private:
  const at::Tensor& logits_;
  std::int64_t vocabulary_, blocks_;
  ScoreRoom room_;
};

/// The most that StepScores::best() takes, of what a ledger counts.
[[nodiscard]] std::int64_t best_bytes(std::int64_t vocabulary, std::int64_t count);

/// log p of a batch's targets, a sentence: the sum over its labels, whose rows of logits follow
/// each other.
[[nodiscard]] std::vector<double> target_scores(const StepScores& scores, const data::Batch& batch);

}  // namespace th::model
