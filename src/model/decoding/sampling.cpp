#include "model/decoding/sampling.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/base/vector_math.hpp"

#include <algorithm>
#include <limits>

namespace th::model {

namespace {

constexpr std::uint64_t kDraws = 0x6472617773206f66ULL;  // apart from the hashes of other uses

constexpr std::int64_t kBlock = 64;  // ids whose weights are summed at a time

}  // namespace

double uniform_at(const DrawPlace& place) {
  std::uint64_t key = hash_pair(hash_pair(kDraws, place.seed), place.sentence);
  key = hash_pair(key, static_cast<std::uint64_t>(place.draw));
  key = hash_pair(key, static_cast<std::uint64_t>(place.position));
  return static_cast<double>(key >> 11) * 0x1p-53;
}

DrawDistribution::DrawDistribution(const StepScores& scores, std::int64_t row,
                                   const SearchOptions& options,
                                   std::span<const std::int32_t> barred)
    : scores_(scores), row_(row), barred_(barred) {
  const std::vector<Logit> likeliest = scores.best(row, 1, barred);
  ensure(!likeliest.empty(), "DrawDistribution: every id is barred");
  top_ = likeliest[0].value;
  inverse_temperature_ = static_cast<float>(
      std::min(1.0 / options.temperature, double{std::numeric_limits<float>::max()}));
  if (options.top_k > 0 || options.top_p < 1) {
    choose_likeliest(options);
  } else {
    sum_all();
  }
}

std::int64_t DrawDistribution::bytes(const SearchOptions& options, std::int64_t vocabulary) {
  const std::int64_t blocks = (vocabulary + kBlock - 1) / kBlock;
  const std::int64_t chosen = options.top_k > 0   ? std::min(options.top_k, vocabulary)
                              : options.top_p < 1 ? vocabulary
                                                  : 1;
  return best_bytes(vocabulary, chosen) +
         runtime::counted(std::max(blocks, chosen) * static_cast<std::int64_t>(sizeof(double)));
}

double DrawDistribution::weight(const Logit& logit) const {
  const float x = (logit.value - top_) * inverse_temperature_;
  return x < -87.0F ? 0.0 : static_cast<double>(exp_fixed(x));
}

std::vector<Logit> DrawDistribution::part(std::int64_t begin, std::int64_t end) const {
  std::vector<Logit> out;
  scores_.append(row_, begin, end, barred_, out);
  return out;
}

std::size_t DrawDistribution::holding(const std::vector<Logit>& logits, double mass) const {
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    sum += weight(logits[i]);
    if (sum >= mass) return i + 1;
  }
  return logits.size() + 1;
}

void DrawDistribution::sum_all() {
  sums_.reserve(static_cast<std::size_t>((scores_.columns(row_) + kBlock - 1) / kBlock));
  double sum = 0;
  for (std::int64_t begin = 0; begin < scores_.columns(row_); begin += kBlock) {
    const std::vector<Logit> ids = part(begin, begin + kBlock);
    for (const Logit& logit : ids) sum += weight(logit);
    size_ += std::ssize(ids);
    sums_.push_back(sum);
  }
}

void DrawDistribution::choose_likeliest(const SearchOptions& options) {
  constexpr std::int64_t kFirst = 64, kGrowth = 8;  // of top_p: ids that are sorted
  double mass = 0;
  if (options.top_k == 0) {
    sum_all();
    mass = options.top_p * sums_.back();
  }
  for (std::int64_t count = options.top_k > 0 ? options.top_k : kFirst;; count *= kGrowth) {
    chosen_ = {};  // before there are others
    chosen_ = scores_.best(row_, count, barred_);
    std::sort(chosen_.begin(), chosen_.end(), likelier);
    if (options.top_k > 0 || count >= scores_.columns(row_) ||
        holding(chosen_, mass) <= chosen_.size())
      break;
  }
  if (options.top_k > 0) {
    double sum = 0;
    for (const Logit& logit : chosen_) sum += weight(logit);
    mass = options.top_p * sum;
  }
  if (options.top_p < 1) chosen_.resize(std::min(chosen_.size(), holding(chosen_, mass)));
  sums_ = {};
  sums_.reserve(chosen_.size());
  double sum = 0;
  for (const Logit& logit : chosen_) sums_.push_back(sum += weight(logit));
  size_ = std::ssize(chosen_);
}

std::int32_t DrawDistribution::at(double u) const {
  const double sum = sums_.back(), target = u * sum;
  const auto found = std::upper_bound(sums_.begin(), sums_.end(), target);
  // u * sum may be rounded up to the sum; nothing is drawn beyond where that is reached.
  const auto last = std::lower_bound(sums_.begin(), sums_.end(), sum);
  const auto place = std::min(found, last) - sums_.begin();
  if (!chosen_.empty()) return chosen_[static_cast<std::size_t>(place)].id;
  const std::vector<Logit> ids = part(place * kBlock, (place + 1) * kBlock);
  double before = place == 0 ? 0 : sums_[static_cast<std::size_t>(place - 1)];
  std::int32_t drawn = 0;
  for (const Logit& logit : ids) {
    const double w = weight(logit);
    if (w > 0) drawn = logit.id;
    before += w;
    if (before > target) break;
  }
  return drawn;
}

}  // namespace th::model
