#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/decoding/step_scores.hpp"
#include "th/model/decoding/decoding.hpp"

namespace th::model {

/// Where a draw stands: nothing else decides it beside its distribution, so that a sentence's draws
/// are the same whatever batch, order and rank it is decoded in.
struct DrawPlace {
  std::uint64_t seed = 0, sentence = 0;
  std::int64_t draw = 0;      ///< of the sentence's independent draws, from 0
  std::int64_t position = 0;  ///< ids before it
};
/// In [0, 1), multiples of 2^-53: a hash of the place.
[[nodiscard]] double uniform_at(const DrawPlace& place);

/// The distribution that ids of a row are drawn from: probability of softmax(logits / temperature)
/// over the ids that are not barred; of those the top_k likeliest, over which probability is taken
/// anew (Fan et al. 2018); of those the fewest likeliest that hold at least top_p of it together
/// (Holtzman et al. 2020). Equal logits are ordered by smaller id.
class DrawDistribution {
 public:
  /// `barred` ascends and leaves at least one id. All are used until the distribution's end.
  DrawDistribution(const StepScores& scores, std::int64_t row, const SearchOptions& options,
                   std::span<const std::int32_t> barred);
  /// The most that a distribution takes, of what a ledger counts.
  [[nodiscard]] static std::int64_t bytes(const SearchOptions& options, std::int64_t vocabulary);
  /// The id at u in [0, 1): by the inverse of the running sum of probability, in fp64, over the ids
  /// in their order; where neither top_k nor top_p chooses, that is by id.
  [[nodiscard]] std::int32_t at(double u) const;
  /// Ids that can be drawn.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }

 private:
  /// exp((logit - top) / temperature), by exp_fixed, so that every processor draws the same; 0
  /// below its range, which is 1e-38.
  [[nodiscard]] double weight(const Logit& logit) const;
  /// The ids of [begin, end) that are not barred, by id.
  [[nodiscard]] std::vector<Logit> part(std::int64_t begin, std::int64_t end) const;
  /// How many of the likeliest, in their order, hold `mass` together; one more than there are where
  /// they do not.
  [[nodiscard]] std::size_t holding(const std::vector<Logit>& logits, double mass) const;
  void choose_likeliest(const SearchOptions& options);
  void sum_all();

  const StepScores& scores_;
  std::int64_t row_;
  std::span<const std::int32_t> barred_;
  float top_ = 0, inverse_temperature_ = 1;
  std::vector<Logit> chosen_;  ///< in their order; empty: all that are not barred
  /// Running sums of weights, not normalized: of the chosen ids, or at the ends of blocks of all,
  /// whose weights are computed again where a draw falls.
  std::vector<double> sums_;
  std::int64_t size_ = 0;
};

}  // namespace th::model
