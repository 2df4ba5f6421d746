#include "model/decoding/step_scores.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

namespace th::model {

namespace {

/// The first `count` in the order of choice of what is added, in room for twice as many.
class BestLogits {
 public:
  BestLogits(std::int64_t count, std::int64_t vocabulary) : count_(count) {
    out_.reserve(static_cast<std::size_t>(room(count, vocabulary)));
  }
  static std::int64_t room(std::int64_t count, std::int64_t vocabulary) {
    return count < vocabulary / 2 ? 2 * count : vocabulary;
  }
  void push_back(const Logit& logit) {
    if (out_.size() == out_.capacity()) prune();
    out_.push_back(logit);
  }
  [[nodiscard]] std::vector<Logit> taken() && {
    prune();
    return std::move(out_);
  }

 private:
  void prune() {
    if (std::ssize(out_) <= count_) return;
    std::nth_element(out_.begin(), out_.begin() + count_, out_.end(), likelier);
    out_.resize(static_cast<std::size_t>(count_));
  }

  std::int64_t count_;
  std::vector<Logit> out_;
};

/// Appends the ids of [begin, end) whose logit is at least `least`, without those that are barred.
template <typename T, typename Out>
void append_from(const T* x, std::int64_t begin, std::int64_t end, float least,
                 std::span<const std::int32_t> barred, Out& out) {
  auto next = std::lower_bound(barred.begin(), barred.end(), begin);
  for (std::int64_t v = begin; v < end; ++v) {
    if (next != barred.end() && *next == v) {
      ++next;
      continue;
    }
    const float value = to_float(x[v]);
    if (value >= least) out.push_back(Logit{value, static_cast<std::int32_t>(v)});
  }
}

/// The largest logit of a block without what is barred; -infinity of none.
template <typename T>
float maximum_without(const T* x, std::int64_t begin, std::int64_t end,
                      std::span<const std::int32_t> barred) {
  float top = -std::numeric_limits<float>::infinity();
  auto next = std::lower_bound(barred.begin(), barred.end(), begin);
  for (std::int64_t v = begin; v < end; ++v) {
    if (next != barred.end() && *next == v) {
      ++next;
    } else {
      top = std::max(top, to_float(x[v]));
    }
  }
  return top;
}

}  // namespace

ScoreRoom::ScoreRoom(const at::Tensor& logits)
    : maxima(empty({logits.size(0), logit_blocks(logits.size(1))}, at::kFloat)),
      rows(runtime::PlannedAllocator<RowNormalizer>(true)) {
  rows.reserve(static_cast<std::size_t>(logits.size(0)));
}

std::int64_t best_bytes(std::int64_t vocabulary, std::int64_t count) {
  const std::int64_t of_blocks =
      runtime::counted(logit_blocks(vocabulary) * static_cast<std::int64_t>(sizeof(float)));
  return 2 * of_blocks + runtime::counted(BestLogits::room(count, vocabulary) *
                                          static_cast<std::int64_t>(sizeof(Logit)));
}

StepScores::StepScores(const at::Tensor& logits)
    : logits_(logits),
      vocabulary_(logits.size(1)),
      blocks_(logit_blocks(vocabulary_)),
      room_(logits) {
  const std::int64_t rows = logits.size(0);
  with_element(logits, [&](auto element) {
    using T = decltype(element);
    for (std::int64_t r = 0; r < rows; ++r) {
      room_.rows.push_back(normalizer_of(elements<T>(logits) + r * vocabulary_, vocabulary_,
                                         room_.maxima.data_ptr<float>() + r * blocks_));
      if (!room_.rows.back().finite)
        throw NumericsError(
            "decoding: the model's logits are not finite; the parameters have overflowed or are "
            "damaged");
    }
  });
}

double StepScores::log_probability(std::int64_t row, std::int64_t id) const {
  double value = 0;
  with_element(logits_, [&](auto element) {
    value = room_.rows[static_cast<std::size_t>(row)].log_probability(
        to_float(elements<decltype(element)>(logits_)[row * vocabulary_ + id]));
  });
  return value;
}

std::vector<Logit> StepScores::best(std::int64_t row, std::int64_t count,
                                    std::span<const std::int32_t> barred) const {
  ensure(barred.empty() || barred.back() < vocabulary_,
         "StepScores: an id outside the vocabulary is barred");
  BestLogits out(count, vocabulary_);
  with_element(logits_, [&](auto element) {
    using T = decltype(element);
    const T* x = elements<T>(logits_) + row * vocabulary_;
    const auto end_of = [&](std::int64_t block) {
      return std::min((block + 1) * kLogitBlock, vocabulary_);
    };
    const float* of_row = room_.maxima.data_ptr<float>() + row * blocks_;
    std::vector<float> maxima(of_row, of_row + blocks_);
    std::int64_t last = -1;
    for (const std::int32_t id : barred) {
      if (id / kLogitBlock == last) continue;
      last = id / kLogitBlock;
      maxima[static_cast<std::size_t>(last)] =
          maximum_without(x, last * kLogitBlock, end_of(last), barred);
    }
    // So many blocks have an id of at least the count-th largest maximum: no other id is among the
    // best.
    float least = std::numeric_limits<float>::lowest();
    if (count < blocks_) {
      std::vector<float> order = maxima;
      std::nth_element(order.begin(), order.begin() + (count - 1), order.end(), std::greater<>());
      least = std::max(least, order[static_cast<std::size_t>(count - 1)]);
    }
    for (std::int64_t b = 0; b < blocks_; ++b) {
      if (maxima[static_cast<std::size_t>(b)] >= least)
        append_from(x, b * kLogitBlock, end_of(b), least, barred, out);
    }
  });
  return std::move(out).taken();
}

std::vector<double> target_scores(const StepScores& scores, const data::Batch& batch) {
  std::vector<double> sums(static_cast<std::size_t>(batch.sentences), 0.0);
  std::int64_t row = 0;
  for (std::size_t b = 0; b < sums.size(); ++b) {
    for (std::int64_t t = 0; t < batch.target_lengths[b]; ++t, ++row)
      sums[b] += scores.log_probability(row, batch.target_out[static_cast<std::size_t>(row)]);
  }
  return sums;
}

void StepScores::append(std::int64_t row, std::int64_t begin, std::int64_t end,
                        std::span<const std::int32_t> barred, std::vector<Logit>& out) const {
  with_element(logits_, [&](auto element) {
    using T = decltype(element);
    append_from(elements<T>(logits_) + row * vocabulary_, begin, std::min(end, vocabulary_),
                std::numeric_limits<float>::lowest(), barred, out);
  });
}

}  // namespace th::model
