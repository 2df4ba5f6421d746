#include "th/model/decoding/alignment.hpp"

#include "model/blocks/stack.hpp"
#include "th/base/error.hpp"
#include "th/model/ops/element.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace th::model {

namespace {

/// One head's rows of a sentence: queries or keys, `stride` elements from row to row.
template <typename T>
struct HeadRows {
  const T* first = nullptr;
  std::int64_t stride = 0;
};

template <typename T>
float product(const T* a, const T* b, std::int64_t width) {
  float sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += to_float(a[i]) * to_float(b[i]);
  return sum;
}

/// The cross attention of one layer, as its tape has it: packed rows, or groups of heads.
class CrossTape {
 public:
  CrossTape(const Pass& pass, const AttentionTape& tape)
      : pass_(pass), tape_(tape), packed_(tape.q.dim() == 2) {}

  /// The weights [T, S] of sentence `b`, averaged over the heads.
  [[nodiscard]] std::vector<double> weights(std::int64_t b) const {
    const auto at = static_cast<std::size_t>(b);
    const std::int64_t queries = pass_.batch.target_lengths[at], keys = key_count(b);
    std::vector<double> sum(static_cast<std::size_t>(queries * keys), 0.0);
    with_element(tape_.q, [&](auto element) {
      using T = decltype(element);
      for (std::int64_t h = 0; h < pass_.context.heads; ++h) add_head<T>(b, h, queries, sum);
    });
    return sum;
  }
  [[nodiscard]] std::int64_t key_count(std::int64_t b) const {
    const auto offsets = pass_.rows.memory_offsets();
    const auto at = static_cast<std::size_t>(b);
    return offsets[at + 1] - offsets[at];
  }

 private:
  [[nodiscard]] std::int64_t head_width() const {
    return packed_ ? tape_.q.size(1) / pass_.context.heads : width_of_groups();
  }
  /// Groups hold all of a sentence's queries of each head, padded to the group's longest.
  [[nodiscard]] std::int64_t width_of_groups() const {
    std::int64_t rows = 0;
    for (const AttentionGroup& g : pass_.rows.cross_groups()) rows += g.sentences * g.queries;
    return tape_.q.numel() / (rows * pass_.context.heads);
  }
  template <typename T>
  [[nodiscard]] std::pair<HeadRows<T>, HeadRows<T>> rows_of(std::int64_t b,
                                                            std::int64_t head) const {
    const std::int64_t width = head_width();
    const T *q = elements<T>(tape_.q), *k = elements<T>(tape_.k);
    if (packed_) {
      const auto at = static_cast<std::size_t>(b);
      const std::int64_t query = pass_.rows.target_offsets()[at],
                         key = pass_.rows.memory_offsets()[at];
      return {{q + query * tape_.q.size(1) + head * width, tape_.q.size(1)},
              {k + key * tape_.k.size(1) + head * width, tape_.k.size(1)}};
    }
    for (const AttentionGroup& g : pass_.rows.cross_groups()) {
      const std::int64_t heads = pass_.context.heads;
      if (b < g.first + g.sentences) {
        const std::int64_t matrix = (b - g.first) * heads + head;
        return {{q + matrix * g.queries * width, width}, {k + matrix * g.keys * width, width}};
      }
      q += g.sentences * heads * g.queries * width;
      k += g.sentences * heads * g.keys * width;
    }
    throw InternalError("alignment: a sentence of no group");
  }
  template <typename T>
  void add_head(std::int64_t b, std::int64_t head, std::int64_t queries,
                std::vector<double>& sum) const {
    const auto [q, k] = rows_of<T>(b, head);
    const std::int64_t keys = key_count(b), width = head_width();
    // Queries of groups are scaled already.
    const double scale = packed_ ? 1.0 / std::sqrt(static_cast<double>(width)) : 1.0;
    std::vector<double> row(static_cast<std::size_t>(keys));
    for (std::int64_t t = 0; t < queries; ++t) {
      const runtime::ScoreRule& rule = pass_.context.cuts.cross;
      const runtime::PositionRange seen = rule.keys(t, keys);
      double largest = -INFINITY, total = 0;
      for (std::int64_t s = seen.begin; s < seen.end; ++s) {
        double& score = row[static_cast<std::size_t>(s)];
        score = scale * static_cast<double>(
                            product(q.first + t * q.stride, k.first + s * k.stride, width)) +
                static_cast<double>(rule.bias(head, t, s));
        largest = std::max(largest, score);
      }
      for (std::int64_t s = seen.begin; s < seen.end; ++s) {
        double& score = row[static_cast<std::size_t>(s)];
        total += score = std::exp(score - largest);
      }
      for (std::int64_t s = seen.begin; s < seen.end; ++s)
        sum[static_cast<std::size_t>(t * keys + s)] += row[static_cast<std::size_t>(s)] / total;
    }
  }

  const Pass& pass_;
  const AttentionTape& tape_;
  bool packed_;
};

}  // namespace

std::vector<std::vector<std::int32_t>> align_targets(const Transformer& model,
                                                     ParameterSource& source,
                                                     const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = model.inference()};
  UnitWalk walk(source, &pass);
  Stack::Tapes tapes;
  const at::Tensor last = model.forward(walk, nullptr, &tapes);
  walk.release_forward();
  const AttentionTape& tape = tapes.back().cross_attention;
  const AttentionCuts& cuts = pass.context.cuts;
  if (tape.q.dim() != 2 && cuts.cross.local())
    throw DeckError(
        "alignments with model.cross_attention = local need a processor with AVX2: without it "
        "attention keeps no rows of queries and keys");
  const CrossTape cross(pass, tape);
  std::vector<std::vector<std::int32_t>> all;
  for (std::int64_t b = 0; b < batch.sentences; ++b) {
    const auto at = static_cast<std::size_t>(b);
    const std::vector<double> weights = cross.weights(b);
    const std::int64_t keys = cross.key_count(b);
    std::vector<std::int32_t>& sources = all.emplace_back();
    for (std::int64_t t = 0; t + 1 < batch.target_lengths[at]; ++t) {
      double most = 0;
      std::int64_t found = -1;
      for (std::int64_t s = 0; s * cuts.memory_step + 1 < batch.source_lengths[at]; ++s) {
        const double weight = weights[static_cast<std::size_t>(t * keys + s)];
        if (weight > most) most = weight, found = s * cuts.memory_step;
      }
      sources.push_back(static_cast<std::int32_t>(found));
    }
  }
  return all;
}

}  // namespace th::model
