#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/ops/decoding/decoding_kernels.hpp"
#include "th/data/batch.hpp"
#include "th/model/decoding/decoding.hpp"
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

/// Where the rows of logits, and the blocks of each, stand among all of them.
class RowPlaces {
 public:
  /// `values` [R, V], for which nothing is allocated; or, where there are `ids`, those of each
  /// row's, row after row.
  RowPlaces(const at::Tensor& values, std::span<const std::span<const std::int32_t>> ids);
  [[nodiscard]] std::int64_t size() const noexcept { return rows_; }
  [[nodiscard]] std::int64_t first(std::int64_t row) const {
    return own_.empty() ? row * columns_ : own_[static_cast<std::size_t>(row)].value;
  }
  [[nodiscard]] std::int64_t columns(std::int64_t row) const { return first(row + 1) - first(row); }
  [[nodiscard]] std::int64_t first_block(std::int64_t row) const {
    return own_.empty() ? row * logit_blocks(columns_) : own_[static_cast<std::size_t>(row)].block;
  }

 private:
  struct Place {
    std::int64_t value, block;
  };
  std::int64_t rows_, columns_ = 0;  ///< of [R, V]
  std::vector<Place> own_;           ///< of rows with ids of their own, and the end
};

/// What a search holds beside a step's logits; a plan counts it.
struct ScoreRoom {
  explicit ScoreRoom(const RowPlaces& places);
  at::Tensor maxima;                           ///< the largest logits of all rows' blocks, fp32
  runtime::PlannedVector<RowNormalizer> rows;  ///< room for R
};

/// A step's logits with what a search asks of them: of all ids, or of each row's own. A row's logit
/// stands in a column: of all ids its id is the column, of its own the place among them.
class StepScores {
 public:
  /// Throws NumericsError for logits that are not finite.
  explicit StepScores(StepLogits logits);
  /// Logits of a row.
  [[nodiscard]] std::int64_t columns(std::int64_t row) const { return places_.columns(row); }
  /// The ids of a row's columns, ascending; empty: all ids below columns().
  [[nodiscard]] std::span<const std::int32_t> ids(std::int64_t row) const {
    return logits_.ids.empty() ? std::span<const std::int32_t>()
                               : logits_.ids[static_cast<std::size_t>(row)];
  }
  /// Natural logarithm, over the row's ids, of which it must be one.
  [[nodiscard]] double log_probability(std::int64_t row, std::int64_t id) const;
  /// The first `count` ids of a row in the order of choice, without those of `barred`, which
  /// ascend; fewer where there are not so many. Themselves in no order. Looks at the largest logits
  /// of blocks first, and only into blocks that may hold one of them; takes best_bytes().
  [[nodiscard]] std::vector<Logit> best(std::int64_t row, std::int64_t count,
                                        std::span<const std::int32_t> barred) const;
  /// The ids of a row's columns [begin, end) without those of `barred`, which ascend, by id,
  /// appended.
  void append(std::int64_t row, std::int64_t begin, std::int64_t end,
              std::span<const std::int32_t> barred, std::vector<Logit>& out) const;

 private:
  /// Those of `ids`, which ascend, that a row has, as columns; `memory` is for them.
  [[nodiscard]] std::span<const std::int32_t> columns_of(std::int64_t row,
                                                         std::span<const std::int32_t> ids,
                                                         std::vector<std::int32_t>& memory) const;
  /// Columns, from number `from` on, become ids.
  void name_ids(std::int64_t row, std::vector<Logit>& columns, std::size_t from) const;

  StepLogits logits_;
  RowPlaces places_;
  ScoreRoom room_;
};

/// The most that StepScores::best() takes, of what a ledger counts.
[[nodiscard]] std::int64_t best_bytes(std::int64_t vocabulary, std::int64_t count);

/// log p of a batch's targets, a sentence: the sum over its labels, whose rows of logits follow
/// each other.
[[nodiscard]] std::vector<double> target_scores(const StepScores& scores, const data::Batch& batch);

}  // namespace th::model
