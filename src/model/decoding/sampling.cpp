#include "model/decoding/sampling.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/base/vector_math.hpp"

#include <algorithm>
#include <limits>

namespace th::model {

namespace {

constexpr std::uint64_t kDraws = 0x6472617773206f66ULL;  // apart from the hashes of other uses

/// exp((logit - top) / temperature): exp_fixed, so that every processor draws the same. 0 below its
/// range, which is 1e-38.
class Weights {
 public:
  Weights(float top, double temperature)
      : top_(top),
        inverse_(static_cast<float>(
            std::min(1.0 / temperature, double{std::numeric_limits<float>::max()}))) {}
  [[nodiscard]] double of(const Logit& logit) const {
    const float x = (logit.value - top_) * inverse_;
    return x < -87.0F ? 0.0 : static_cast<double>(exp_fixed(x));
  }
  [[nodiscard]] double sum(const std::vector<Logit>& logits) const {
    double sum = 0;
    for (const Logit& logit : logits) sum += of(logit);
    return sum;
  }

 private:
  float top_, inverse_;
};

float largest(const std::vector<Logit>& logits) {
  return std::min_element(logits.begin(), logits.end(), likelier)->value;
}

/// How many of the likeliest, in their order, hold `mass` together; one more than there are where
/// they do not.
std::size_t holding(const std::vector<Logit>& logits, const Weights& weights, double mass) {
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sum += weights.of(logits[i]);
    if (sum >= mass) return i + 1;
  }
  return logits.size() + 1;
}

/// The likeliest ids of a row that hold `mass`, in their order: more and more of them are sorted
/// until they do.
std::vector<Logit> nucleus(const StepScores& scores, std::int64_t row, const Weights& weights,
                           double mass, std::span<const std::int32_t> barred) {
  constexpr std::int64_t kFirst = 64, kGrowth = 8;
  for (std::int64_t count = kFirst;; count *= kGrowth) {
    std::vector<Logit> best = scores.best(row, count, barred);
    std::sort(best.begin(), best.end(), likelier);
    const std::size_t held = holding(best, weights, mass);
    if (held <= best.size() || count >= scores.vocabulary()) {
      best.resize(std::min(best.size(), held));
      return best;
    }
  }
}

std::vector<Logit> chosen(const StepScores& scores, std::int64_t row, const SearchOptions& o,
                          std::span<const std::int32_t> barred) {
  std::vector<Logit> ids =
      o.top_k > 0 ? scores.best(row, o.top_k, barred) : scores.all(row, barred);
  ensure(!ids.empty(), "DrawDistribution: every id is barred");
  if (o.top_k > 0) std::sort(ids.begin(), ids.end(), likelier);
  if (o.top_p >= 1) return ids;
  const Weights weights(largest(ids), o.temperature);
  const double mass = o.top_p * weights.sum(ids);
  if (o.top_k == 0) return nucleus(scores, row, weights, mass, barred);
  ids.resize(std::min(ids.size(), holding(ids, weights, mass)));
  return ids;
}

}  // namespace

double uniform_at(const DrawPlace& place) {
  std::uint64_t key = hash_pair(hash_pair(kDraws, place.seed), place.sentence);
  key = hash_pair(key, static_cast<std::uint64_t>(place.draw));
  key = hash_pair(key, static_cast<std::uint64_t>(place.position));
  return static_cast<double>(key >> 11) * 0x1p-53;
}

DrawDistribution::DrawDistribution(const StepScores& scores, std::int64_t row,
                                   const SearchOptions& options,
                                   std::span<const std::int32_t> barred) {
  const std::vector<Logit> ids = chosen(scores, row, options, barred);
  const Weights weights(largest(ids), options.temperature);
  ids_.reserve(ids.size());
  sums_.reserve(ids.size());
  double sum = 0;
  for (const Logit& logit : ids) {
    sum += weights.of(logit);
    ids_.push_back(logit.id);
    sums_.push_back(sum);
  }
}

std::int32_t DrawDistribution::at(double u) const {
  const double sum = sums_.back();
  const auto found = std::upper_bound(sums_.begin(), sums_.end(), u * sum);
  // u * sum may be rounded up to the sum; nothing is drawn beyond where that is reached.
  const auto last = std::lower_bound(sums_.begin(), sums_.end(), sum);
  return ids_[static_cast<std::size_t>(std::min(found, last) - sums_.begin())];
}

}  // namespace th::model
