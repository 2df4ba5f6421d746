#include "model/decoding/step_scores.hpp"

#include "model/ops/host_threads.hpp"
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

ScoreRoom::ScoreRoom(const RowPlaces& places)
    : maxima(empty({places.first_block(places.size())}, at::kFloat)),
      rows(runtime::PlannedAllocator<RowNormalizer>(true)) {
  rows.reserve(static_cast<std::size_t>(places.size()));
}

std::int64_t best_bytes(std::int64_t vocabulary, std::int64_t count) {
  const std::int64_t of_blocks =
      runtime::counted(logit_blocks(vocabulary) * static_cast<std::int64_t>(sizeof(float)));
  return 2 * of_blocks + runtime::counted(BestLogits::room(count, vocabulary) *
                                          static_cast<std::int64_t>(sizeof(Logit)));
}

RowPlaces::RowPlaces(const at::Tensor& values, std::span<const std::span<const std::int32_t>> ids)
    : rows_(ids.empty() ? values.size(0) : std::ssize(ids)) {
  if (ids.empty()) {
    columns_ = values.size(1);
    return;
  }
  own_.push_back({0, 0});
  for (const std::span<const std::int32_t> of_row : ids)
    own_.push_back({own_.back().value + std::ssize(of_row),
                    own_.back().block + logit_blocks(std::ssize(of_row))});
  ensure(own_.back().value == values.numel(), "RowPlaces: logits of other ids than named");
}

StepScores::StepScores(StepLogits logits)
    : logits_(std::move(logits)), places_(logits_.values, logits_.ids), room_(places_) {
  with_element(logits_.values, [&](auto element) {
    using T = decltype(element);
    room_.rows.resize(static_cast<std::size_t>(places_.size()));
    over_threads(places_.size(), [&](std::int64_t begin, std::int64_t end, std::int64_t) {
      for (std::int64_t r = begin; r < end; ++r) {
        room_.rows[static_cast<std::size_t>(r)] =
            normalizer_of(elements<T>(logits_.values) + places_.first(r), columns(r),
                          room_.maxima.data_ptr<float>() + places_.first_block(r));
      }
    });
  });
  for (const RowNormalizer& row : room_.rows) {
    if (!row.finite)
      throw NumericsError(
          "decoding: the model's logits are not finite; the parameters have overflowed or are "
          "damaged");
  }
}

double StepScores::log_probability(std::int64_t row, std::int64_t id) const {
  std::int64_t column = id;
  if (const std::span<const std::int32_t> own = ids(row); !own.empty()) {
    const auto found = std::lower_bound(own.begin(), own.end(), id);
    column = found != own.end() && *found == id ? found - own.begin() : columns(row);
  }
  ensure(column >= 0 && column < columns(row), "StepScores: an id that has no logit");
  double value = 0;
  with_element(logits_.values, [&](auto element) {
    value = room_.rows[static_cast<std::size_t>(row)].log_probability(
        to_float(elements<decltype(element)>(logits_.values)[places_.first(row) + column]));
  });
  return value;
}

std::span<const std::int32_t> StepScores::columns_of(std::int64_t row,
                                                     std::span<const std::int32_t> of,
                                                     std::vector<std::int32_t>& memory) const {
  const std::span<const std::int32_t> own = ids(row);
  if (own.empty()) return of;
  for (const std::int32_t id : of) {
    const auto found = std::lower_bound(own.begin(), own.end(), id);
    if (found != own.end() && *found == id)
      memory.push_back(static_cast<std::int32_t>(found - own.begin()));
  }
  return memory;
}

void StepScores::name_ids(std::int64_t row, std::vector<Logit>& columns, std::size_t from) const {
  const std::span<const std::int32_t> own = ids(row);
  if (own.empty()) return;
  for (std::size_t i = from; i < columns.size(); ++i)
    columns[i].id = own[static_cast<std::size_t>(columns[i].id)];
}

std::vector<Logit> StepScores::best(std::int64_t row, std::int64_t count,
                                    std::span<const std::int32_t> barred_ids) const {
  const std::int64_t width = columns(row), blocks = logit_blocks(width);
  std::vector<std::int32_t> memory;
  const std::span<const std::int32_t> barred = columns_of(row, barred_ids, memory);
  ensure(barred.empty() || barred.back() < width,
         "StepScores: an id outside the vocabulary is barred");
  BestLogits best(count, width);
  with_element(logits_.values, [&](auto element) {
    using T = decltype(element);
    const T* x = elements<T>(logits_.values) + places_.first(row);
    const auto end_of = [&](std::int64_t block) {
      return std::min((block + 1) * kLogitBlock, width);
    };
    const float* of_row = room_.maxima.data_ptr<float>() + places_.first_block(row);
    std::vector<float> maxima(of_row, of_row + blocks);
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
    if (count < blocks) {
      std::vector<float> order = maxima;
      std::nth_element(order.begin(), order.begin() + (count - 1), order.end(), std::greater<>());
      least = std::max(least, order[static_cast<std::size_t>(count - 1)]);
    }
    for (std::int64_t b = 0; b < blocks; ++b) {
      if (maxima[static_cast<std::size_t>(b)] >= least)
        append_from(x, b * kLogitBlock, end_of(b), least, barred, best);
    }
  });
  std::vector<Logit> out = std::move(best).taken();
  name_ids(row, out, 0);
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
  const std::size_t before = out.size();
  std::vector<std::int32_t> memory;
  with_element(logits_.values, [&](auto element) {
    using T = decltype(element);
    append_from(elements<T>(logits_.values) + places_.first(row), begin,
                std::min(end, columns(row)), std::numeric_limits<float>::lowest(),
                columns_of(row, barred, memory), out);
  });
  name_ids(row, out, before);
}

}  // namespace th::model
