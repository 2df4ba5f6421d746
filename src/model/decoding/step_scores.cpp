#include "model/decoding/step_scores.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"

#include <algorithm>
#include <functional>
#include <limits>

namespace th::model {

namespace {

/// Appends the ids of [begin, end) whose logit is at least `least`, without those that are barred.
template <typename T>
void append_from(const T* x, std::int64_t begin, std::int64_t end, float least,
                 std::span<const std::int32_t> barred, std::vector<Logit>& out) {
  auto next = std::lower_bound(barred.begin(), barred.end(), begin);
  for (std::int64_t v = begin; v < end; ++v) {
    if (next != barred.end() && *next == v) {
      ++next;
      continue;
    }
    const float value = to_float(x[v]);
    if (value >= least) out.push_back({value, static_cast<std::int32_t>(v)});
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

at::Tensor block_maxima_of(const at::Tensor& logits) {
  return empty({logits.size(0), logit_blocks(logits.size(1))}, at::kFloat);
}

StepScores::StepScores(const at::Tensor& logits)
    : logits_(logits), vocabulary_(logits.size(1)), blocks_(logit_blocks(vocabulary_)) {
  const std::int64_t rows = logits.size(0);
  rows_.reserve(static_cast<std::size_t>(rows));
  maxima_ = block_maxima_of(logits);
  with_element(logits, [&](auto element) {
    using T = decltype(element);
    for (std::int64_t r = 0; r < rows; ++r) {
      rows_.push_back(normalizer_of(elements<T>(logits) + r * vocabulary_, vocabulary_,
                                    maxima_.data_ptr<float>() + r * blocks_));
      if (!rows_.back().finite)
        throw NumericsError(
            "decoding: the model's logits are not finite; the parameters have overflowed or are "
            "damaged");
    }
  });
}

double StepScores::log_probability(std::int64_t row, std::int64_t id) const {
  double value = 0;
  with_element(logits_, [&](auto element) {
    value = rows_[static_cast<std::size_t>(row)].log_probability(
        to_float(elements<decltype(element)>(logits_)[row * vocabulary_ + id]));
  });
  return value;
}

std::vector<Logit> StepScores::best(std::int64_t row, std::int64_t count,
                                    std::span<const std::int32_t> barred) const {
  ensure(barred.empty() || barred.back() < vocabulary_,
         "StepScores: an id outside the vocabulary is barred");
  std::vector<Logit> out;
  with_element(logits_, [&](auto element) {
    using T = decltype(element);
    const T* x = elements<T>(logits_) + row * vocabulary_;
    const auto end_of = [&](std::int64_t block) {
      return std::min((block + 1) * kLogitBlock, vocabulary_);
    };
    const float* of_row = maxima_.data_ptr<float>() + row * blocks_;
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
  if (std::ssize(out) > count) {
    std::nth_element(out.begin(), out.begin() + count, out.end(), likelier);
    out.resize(static_cast<std::size_t>(count));
  }
  return out;
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
