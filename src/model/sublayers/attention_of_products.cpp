#include "model/sublayers/attention_of_products.hpp"

#include "th/model/memory/tensors.hpp"

#include <utility>

namespace th::model {

/// One group's matrices within tensors that hold all groups.
struct AttentionOfProducts::Views {
  const AttentionGroup& group;
  std::int64_t heads, head_width;
  std::int64_t first_query, first_key, first_score;  ///< elements before the group

  [[nodiscard]] at::Tensor queries(const at::Tensor& all) const {
    return view(all, first_query, group.queries, head_width);
  }
  [[nodiscard]] at::Tensor keys(const at::Tensor& all) const {
    return view(all, first_key, group.keys, head_width);
  }
  [[nodiscard]] at::Tensor scores(const at::Tensor& all) const {
    return view(all, first_score, group.queries, group.keys);
  }
  [[nodiscard]] at::Tensor view(const at::Tensor& all, std::int64_t first, std::int64_t rows,
                                std::int64_t columns) const {
    return all.narrow(0, first, group.sentences * heads * rows * columns)
        .view({group.sentences * heads, rows, columns});
  }
};

template <typename Cells>
at::Tensor AttentionOfProducts::flat(const at::Tensor& like, const Cells& cells) const {
  std::int64_t count = 0;
  for (const AttentionGroup& g : groups_) count += g.sentences * heads_ * cells(g);
  return model::empty({count}, like.options());
}

at::Tensor AttentionOfProducts::rows(const at::Tensor& like, Side side) const {
  return flat(like, [&](const AttentionGroup& g) { return length(side, g) * head_width_; });
}

template <typename Work>
void AttentionOfProducts::each_group(const Work& work) const {
  std::int64_t query = 0, key = 0, score = 0;
  for (const AttentionGroup& g : groups_) {
    work(Views{g, heads_, head_width_, query, key, score});
    query += g.sentences * heads_ * g.queries * head_width_;
    key += g.sentences * heads_ * g.keys * head_width_;
    score += g.sentences * heads_ * g.queries * g.keys;
  }
}

template <typename Kernel>
void AttentionOfProducts::each_scores(const at::Tensor& p, const Kernel& kernel) const {
  context_.run(p, [&]<typename T>(const Kernels<T>& k) {
    T* row = k.elements(p);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const AttentionGroup& g = groups_[i];
      kernel(k, row, g, i);
      row += g.sentences * heads_ * g.queries * g.keys;
    }
  });
}

op::BlockPlaces AttentionOfProducts::places(const AttentionGroup& group) const {
  if (site_.blocks.empty()) return {};
  const AttentionGroup all = site_.all_sentences();
  return {.query_spans = spans(Side::kQueries, group),
          .key_spans = spans(Side::kKeys, group),
          .heads = heads_,
          .queries = group.queries,
          .all_queries = all.queries,
          .all_keys = all.keys};
}

at::Tensor AttentionOfProducts::split(const at::Tensor& packed, std::int64_t column, Side side,
                                      float factor) const {
  at::Tensor out = rows(packed, side);
  context_.run(packed, [&]<typename T>(const Kernels<T>& k) {
    T* to = k.elements(out);
    for (const AttentionGroup& g : groups_) {
      k(op::SplitHeads<T>{.x = k.elements(packed) + column,
                          .offsets = offsets(side, g),
                          .out = to,
                          .batch = g.sentences,
                          .length = length(side, g),
                          .heads = heads_,
                          .width = head_width_,
                          .stride = packed.size(1),
                          .scale = factor,
                          .spans = spans(side, g)});
      to += g.sentences * heads_ * length(side, g) * head_width_;
    }
  });
  return out;
}

void AttentionOfProducts::merge(const at::Tensor& from, at::Tensor& packed, std::int64_t column,
                                Side side, float factor) const {
  // A key is in several blocks, a query in one.
  const bool adds = side == Side::kKeys && !site_.blocks.empty();
  context_.run(from, [&]<typename T>(const Kernels<T>& k) {
    const T* h = k.elements(from);
    for (const AttentionGroup& g : groups_) {
      k(op::MergeHeads<T>{.h = h,
                          .offsets = offsets(side, g),
                          .x = k.elements(packed) + column,
                          .batch = g.sentences,
                          .length = length(side, g),
                          .heads = heads_,
                          .width = head_width_,
                          .stride = packed.size(1),
                          .scale = factor,
                          .spans = spans(side, g),
                          .add = adds});
      h += g.sentences * heads_ * length(side, g) * head_width_;
    }
  });
}

at::Tensor AttentionOfProducts::scores(const at::Tensor& q, const at::Tensor& k) const {
  at::Tensor out = flat(q, [](const AttentionGroup& g) { return g.queries * g.keys; });
  each_group([&](const Views& v) {
    context_.gemm->batched(v.queries(q), v.keys(k).transpose(1, 2), v.scores(out));
  });
  return out;
}

at::Tensor AttentionOfProducts::weighted(const at::Tensor& p, const at::Tensor& v) const {
  at::Tensor out = rows(v, Side::kQueries);
  each_group([&](const Views& views) {
    context_.gemm->batched(views.scores(p), views.keys(v), views.queries(out));
  });
  return out;
}

at::Tensor AttentionOfProducts::weighted_keys(const at::Tensor& p, const at::Tensor& x) const {
  at::Tensor out = rows(x, Side::kKeys);
  each_group([&](const Views& v) {
    context_.gemm->batched(v.scores(p).transpose(1, 2), v.queries(x), v.keys(out));
  });
  return out;
}

void AttentionOfProducts::take_queries(const at::Tensor& projected, AttentionTape& tape) const {
  tape.q = split(projected, 0, Side::kQueries, scale());
}

void AttentionOfProducts::take_keys(const at::Tensor& projected, AttentionTape& tape) const {
  const std::int64_t first = projected.size(1) - 2 * width_;
  tape.k = split(projected, first, Side::kKeys, 1.0F);
  tape.v = split(projected, first + width_, Side::kKeys, 1.0F);
}

at::Tensor AttentionOfProducts::probabilities(const AttentionTape& tape) const {
  at::Tensor p = scores(tape.q, tape.k);
  each_scores(
      p, [&]<typename T>(const Kernels<T>& k, T* row, const AttentionGroup& g, std::size_t) {
        k(op::MaskedSoftmax<T>{.scores = row,
                               .key_lengths = site_.key_lengths == nullptr || !site_.blocks.empty()
                                                  ? nullptr
                                                  : site_.key_lengths + g.first,
                               .rule = site_.rules.scores,
                               .batch = g.sentences,
                               .heads = heads_,
                               .queries = g.queries,
                               .keys = g.keys,
                               .query_spans = spans(Side::kQueries, g),
                               .key_spans = spans(Side::kKeys, g)});
      });
  return p;
}

at::Tensor AttentionOfProducts::dropped(const at::Tensor& probabilities) const {
  if (site_.dropout.rate == 0.0F) return probabilities;
  at::Tensor out = model::empty_like(probabilities);
  each_scores(probabilities, [&]<typename T>(const Kernels<T>& k, T* row, const AttentionGroup& g,
                                             std::size_t number) {
    T* to = k.elements(out) + (row - k.elements(probabilities));
    const std::int64_t rows = g.sentences * heads_ * g.queries;
    if (site_.blocks.empty()) {
      k(op::ApplyDropout<T>{
          .x = row, .out = to, .count = rows * g.keys, .dropout = site_.group_dropout(number)});
    } else {
      k(op::DropScores<T>{.x = row,
                          .out = to,
                          .rows = rows,
                          .keys = g.keys,
                          .dropout = site_.dropout,
                          .blocks = places(g)});
    }
  });
  return out;
}

void AttentionOfProducts::softmax_backward(const at::Tensor& p, at::Tensor& g_scores) const {
  each_scores(
      p, [&]<typename T>(const Kernels<T>& k, T* row, const AttentionGroup& g, std::size_t number) {
        k(op::SoftmaxDropoutBackward<T>{
            .p = row,
            .g = k.elements(g_scores) + (row - k.elements(p)),
            .rows = g.sentences * heads_ * g.queries,
            .keys = g.keys,
            .dropout = site_.blocks.empty() ? site_.group_dropout(number) : site_.dropout,
            .blocks = places(g)});
      });
}

at::Tensor AttentionOfProducts::merged(const at::Tensor& dropped, const at::Tensor& v) const {
  const at::Tensor out = weighted(dropped, v);
  at::Tensor packed = model::empty({site_.query_rows, width_}, v.options());
  merge(out, packed, 0, Side::kQueries, 1.0F);
  return packed;
}

AttentionOfProducts::Gradients AttentionOfProducts::backward(const AttentionTape& tape,
                                                             const at::Tensor& probabilities,
                                                             at::Tensor dropped,
                                                             const at::Tensor& g_merged,
                                                             bool self) const {
  const at::Tensor g_out = split(g_merged, 0, Side::kQueries, 1.0F);
  const at::Tensor g_v = weighted_keys(dropped, g_out);
  dropped = at::Tensor();
  at::Tensor g_scores = scores(g_out, tape.v);
  softmax_backward(probabilities, g_scores);
  const at::Tensor g_heads_q = weighted(g_scores, tape.k);
  const at::Tensor g_heads_k = weighted_keys(g_scores, tape.q);
  Gradients g;
  g.q = model::empty({site_.query_rows, self ? 3 * width_ : width_}, g_merged.options());
  if (!self) g.kv = model::empty({site_.key_rows, 2 * width_}, g_merged.options());
  at::Tensor& of_keys = self ? g.q : g.kv;
  if (!site_.blocks.empty() && context_.gemm->computes()) of_keys.zero_();
  merge(g_heads_q, g.q, 0, Side::kQueries, scale());
  merge(g_heads_k, of_keys, self ? width_ : 0, Side::kKeys, 1.0F);
  merge(g_v, of_keys, self ? 2 * width_ : width_, Side::kKeys, 1.0F);
  return g;
}

}  // namespace th::model
