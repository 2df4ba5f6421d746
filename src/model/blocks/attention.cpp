#include "model/blocks/layer_pieces.hpp"
#include "th/base/hash.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

// Attention: by one kernel over packed rows, or by matrix products of groups of sentences.
namespace th::model {

namespace {

at::Tensor empty_like_rows(const at::Tensor& like, at::IntArrayRef shape) {
  return at::empty(shape, like.options());
}

enum class Side { kQueries, kKeys };

/// Sizes of one attention, the moves between packed rows [M, columns] and [B*H, T, K] of each
/// group, and products group by group.
class Heads {
 public:
  Heads(const PassContext& c, const AttentionSite& s, std::int64_t model_width)
      : width(model_width),
        scale(1.0F / std::sqrt(static_cast<float>(model_width / c.heads))),
        context_(c),
        site_(s),
        count_(c.heads),
        head_width_(model_width / c.heads) {}
  const std::int64_t width;
  const float scale;  ///< of the queries

  [[nodiscard]] at::Tensor split(const at::Tensor& packed, std::int64_t column, Side side,
                                 float factor) const {
    at::Tensor out = rows(packed, side);
    context_.run(packed, [&]<typename T>(const Kernels<T>& k) {
      T* to = k.elements(out);
      for (const AttentionGroup& g : site_.groups) {
        k(op::SplitHeads<T>{.x = k.elements(packed) + column,
                            .offsets = offsets(side, g),
                            .out = to,
                            .batch = g.sentences,
                            .length = length(side, g),
                            .heads = count_,
                            .width = head_width_,
                            .stride = packed.size(1),
                            .scale = factor});
        to += g.sentences * count_ * length(side, g) * head_width_;
      }
    });
    return out;
  }
  void merge(const at::Tensor& from, at::Tensor& packed, std::int64_t column, Side side,
             float factor) const {
    context_.run(from, [&]<typename T>(const Kernels<T>& k) {
      const T* h = k.elements(from);
      for (const AttentionGroup& g : site_.groups) {
        k(op::MergeHeads<T>{.h = h,
                            .offsets = offsets(side, g),
                            .x = k.elements(packed) + column,
                            .batch = g.sentences,
                            .length = length(side, g),
                            .heads = count_,
                            .width = head_width_,
                            .stride = packed.size(1),
                            .scale = factor});
        h += g.sentences * count_ * length(side, g) * head_width_;
      }
    });
  }
  /// q k^T of each group, [B*H, T, S] each.
  [[nodiscard]] at::Tensor scores(const at::Tensor& q, const at::Tensor& k) const {
    at::Tensor out = flat(q, [](const AttentionGroup& g) { return g.queries * g.keys; });
    each_group([&](const Views& v) {
      context_.gemm->batched(v.queries(q), v.keys(k).transpose(1, 2), v.scores(out));
    });
    return out;
  }
  /// p v of each group, [B*H, T, K] each.
  [[nodiscard]] at::Tensor weighted(const at::Tensor& p, const at::Tensor& v) const {
    at::Tensor out = rows(v, Side::kQueries);
    each_group([&](const Views& views) {
      context_.gemm->batched(views.scores(p), views.keys(v), views.queries(out));
    });
    return out;
  }
  /// p^T x of each group, [B*H, S, K] each.
  [[nodiscard]] at::Tensor weighted_keys(const at::Tensor& p, const at::Tensor& x) const {
    at::Tensor out = rows(x, Side::kKeys);
    each_group([&](const Views& v) {
      context_.gemm->batched(v.scores(p).transpose(1, 2), v.queries(x), v.keys(out));
    });
    return out;
  }
  [[nodiscard]] at::Tensor probabilities(const AttentionTape& tape) const {
    at::Tensor p = scores(tape.q, tape.k);
    each_scores(p,
                [&]<typename T>(const Kernels<T>& k, T* row, const AttentionGroup& g, std::size_t) {
                  const std::int32_t* lengths =
                      site_.key_lengths == nullptr ? nullptr : site_.key_lengths + g.first;
                  k(op::MaskedSoftmax<T>{.scores = row,
                                         .key_lengths = lengths,
                                         .rule = site_.rule,
                                         .batch = g.sentences,
                                         .heads = count_,
                                         .queries = g.queries,
                                         .keys = g.keys});
                });
    return p;
  }
  [[nodiscard]] at::Tensor dropped(const at::Tensor& p) const {
    if (site_.dropout.rate == 0.0F) return p;
    at::Tensor out = at::empty_like(p);
    each_scores(p, [&]<typename T>(const Kernels<T>& k, T* row, const AttentionGroup& g,
                                   std::size_t number) {
      k(op::ApplyDropout<T>{.x = row,
                            .out = k.elements(out) + (row - k.elements(p)),
                            .count = g.sentences * count_ * g.queries * g.keys,
                            .dropout = site_.group_dropout(number)});
    });
    return out;
  }
  /// In place: the scores' gradient from that of the dropped probabilities.
  void softmax_backward(const at::Tensor& p, at::Tensor& g_scores) const {
    each_scores(p, [&]<typename T>(const Kernels<T>& k, T* row, const AttentionGroup& g,
                                   std::size_t number) {
      k(op::SoftmaxDropoutBackward<T>{.p = row,
                                      .g = k.elements(g_scores) + (row - k.elements(p)),
                                      .rows = g.sentences * count_ * g.queries,
                                      .keys = g.keys,
                                      .dropout = site_.group_dropout(number)});
    });
  }
  [[nodiscard]] at::Tensor merged(const at::Tensor& dropped_p, const at::Tensor& v) const {
    const at::Tensor out = weighted(dropped_p, v);
    at::Tensor packed = empty_like_rows(v, {site_.query_rows, width});
    merge(out, packed, 0, Side::kQueries, 1.0F);
    return packed;
  }

 private:
  /// One group's matrices within tensors that hold all groups.
  struct Views {
    const AttentionGroup& group;
    std::int64_t heads, head_width, first_query, first_key,
        first_score;  ///< elements before the group
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

  [[nodiscard]] static std::int64_t length(Side side, const AttentionGroup& g) {
    return side == Side::kQueries ? g.queries : g.keys;
  }
  [[nodiscard]] const std::int64_t* offsets(Side side, const AttentionGroup& g) const {
    return (side == Side::kQueries ? site_.query_offsets : site_.key_offsets) + g.first;
  }
  /// Room for `cells` of each sentence and head, group after group.
  template <typename Cells>
  [[nodiscard]] at::Tensor flat(const at::Tensor& like, const Cells& cells) const {
    std::int64_t count = 0;
    for (const AttentionGroup& g : site_.groups) count += g.sentences * count_ * cells(g);
    return empty_like_rows(like, {count});
  }
  [[nodiscard]] at::Tensor rows(const at::Tensor& like, Side side) const {
    return flat(like, [&](const AttentionGroup& g) { return length(side, g) * head_width_; });
  }
  template <typename Work>
  void each_group(const Work& work) const {
    std::int64_t query = 0, key = 0, score = 0;
    for (const AttentionGroup& g : site_.groups) {
      work(Views{g, count_, head_width_, query, key, score});
      query += g.sentences * count_ * g.queries * head_width_;
      key += g.sentences * count_ * g.keys * head_width_;
      score += g.sentences * count_ * g.queries * g.keys;
    }
  }
  /// Calls kernel(kernels, scores of the group, group, its number).
  template <typename Kernel>
  void each_scores(const at::Tensor& p, const Kernel& kernel) const {
    context_.run(p, [&]<typename T>(const Kernels<T>& k) {
      T* row = k.elements(p);
      for (std::size_t i = 0; i < site_.groups.size(); ++i) {
        const AttentionGroup& g = site_.groups[i];
        kernel(k, row, g, i);
        row += g.sentences * count_ * g.queries * g.keys;
      }
    });
  }

  const PassContext& context_;
  const AttentionSite& site_;
  std::int64_t count_, head_width_;
};

/// Attention in one kernel over packed rows: nothing is split into heads, and no scores are kept.
class FusedHeads {
 public:
  FusedHeads(const PassContext& c, const AttentionSite& s, std::int64_t width)
      : context_(c), site_(s), width_(width) {
    for (const AttentionGroup& g : s.groups) {
      sentences_ = g.first + g.sentences;
      queries_ = std::max(queries_, g.queries);
      keys_ = std::max(keys_, g.keys);
    }
  }
  [[nodiscard]] bool take(const at::Tensor& like) const {
    return context_.fuses(like.scalar_type(), queries_, keys_, width_ / context_.heads);
  }
  [[nodiscard]] at::Tensor merged(const AttentionTape& tape) const {
    at::Tensor out = empty_like_rows(tape.q, {site_.query_rows, width_});
    const at::Tensor room = scratch();
    context_.run(out, [&]<typename T>(const Kernels<T>& k) {
      k(op::Attention<T>{.inputs = inputs(k, tape, room), .out = k.elements(out)});
    });
    return out;
  }
  /// Gradients where q, k and v are in the tape: undefined `g_kv`, all three in `g_q`.
  void backward(const AttentionTape& tape, const at::Tensor& g_merged, const at::Tensor& g_q,
                const at::Tensor& g_kv) const {
    const at::Tensor room = scratch();
    context_.run(g_q, [&]<typename T>(const Kernels<T>& k) {
      T* of_q = k.elements(g_q);
      T* of_k = g_kv.defined() ? k.elements(g_kv) : of_q + width_;
      k(op::AttentionBackward<T>{.inputs = inputs(k, tape, room),
                                 .g = k.elements(g_merged),
                                 .g_q = of_q,
                                 .g_k = of_k,
                                 .g_v = of_k + width_});
    });
  }

 private:
  /// The host's, for each thread.
  [[nodiscard]] at::Tensor scratch() const {
    if (context_.memory != ComputeDevice::Memory::kHost) return {};
    return at::empty(
        {at::get_num_threads() * runtime::host_attention_scratch(keys_, width_ / context_.heads)},
        at::kFloat);
  }
  template <typename T>
  [[nodiscard]] op::AttentionInputs<T> inputs(const Kernels<T>& k, const AttentionTape& tape,
                                              const at::Tensor& scratch) const {
    const std::int64_t head_width = width_ / context_.heads;
    const T* keys = tape.k.defined() ? k.elements(tape.k) : k.elements(tape.q) + width_;
    return {.q = k.elements(tape.q),
            .k = keys,
            .v = keys + width_,
            .q_stride = tape.q.size(1),
            .kv_stride = tape.k.defined() ? tape.k.size(1) : tape.q.size(1),
            .query_offsets = site_.query_offsets,
            .key_offsets = site_.key_offsets,
            .batch = sentences_,
            .heads = context_.heads,
            .queries = queries_,
            .keys = keys_,
            .width = head_width,
            .rule = site_.rule,
            .scale = 1.0F / std::sqrt(static_cast<float>(head_width)),
            .dropout = site_.dropout,
            .scratch = scratch.defined() ? fp32(scratch) : nullptr};
  }

  const PassContext& context_;
  const AttentionSite& site_;
  std::int64_t width_, sentences_ = 0, queries_ = 0, keys_ = 0;
};

/// Gradients of the projections of q, k and v: of x, and added to `g_memory` for cross attention.
/// `g_kv` undefined: g_q has all three.
at::Tensor projections_backward(const PassContext& context, const ParameterSpan& p,
                                const at::Tensor& g_q, const at::Tensor& g_kv,
                                const at::Tensor& x_MD, const at::Tensor& memory_MD,
                                at::Tensor* g_memory) {
  if (!g_kv.defined())
    return linear_backward(context, g_q, x_MD, p.values[0], p.gradients[0], p.gradients[1],
                           p.write);
  const std::int64_t width = x_MD.size(1);
  const at::Tensor g_keys =
      linear_backward(context, g_kv, memory_MD, p.values[0].narrow(0, width, 2 * width),
                      p.gradients[0].narrow(0, width, 2 * width),
                      p.gradients[1].narrow(0, width, 2 * width), p.write);
  context.run(*g_memory, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddTo<T>{.y = k.elements(*g_memory), .x = k.elements(g_keys), .count = g_keys.numel()});
  });
  return linear_backward(context, g_q, x_MD, p.values[0].narrow(0, 0, width),
                         p.gradients[0].narrow(0, 0, width), p.gradients[1].narrow(0, 0, width),
                         p.write);
}

}  // namespace

Dropout AttentionSite::group_dropout(std::size_t group) const {
  return group == 0 ? dropout : Dropout{hash_pair(dropout.key, group), dropout.rate};
}

at::Tensor attention_forward(const PassContext& context, const ParameterSpan& p,
                             const at::Tensor& x_MD, const at::Tensor& memory_MD,
                             const AttentionSite& site, AttentionTape& tape) {
  const FusedHeads fused(context, site, x_MD.size(1));
  const Heads heads(context, site, x_MD.size(1));
  const std::int64_t width = heads.width;
  const bool self = !memory_MD.defined();
  at::Tensor q, kv;
  if (self) {
    q = linear(context, x_MD, p.values[0], p.values[1]);
  } else {
    q = linear(context, x_MD, p.values[0].narrow(0, 0, width), p.values[1].narrow(0, 0, width));
  }
  const bool fuse = fused.take(q);
  if (!fuse) tape.q = heads.split(q, 0, Side::kQueries, heads.scale);
  if (!self)
    kv = linear(context, memory_MD, p.values[0].narrow(0, width, 2 * width),
                p.values[1].narrow(0, width, 2 * width));
  if (fuse) {
    tape.q = std::move(q);
    tape.k = std::move(kv);
    const at::Tensor merged = fused.merged(tape);
    if (context.keep_cheap) tape.merged = merged;
    return linear(context, merged, p.values[2], p.values[3]);
  }
  const at::Tensor& keys = self ? q : kv;
  tape.k = heads.split(keys, self ? width : 0, Side::kKeys, 1.0F);
  tape.v = heads.split(keys, self ? 2 * width : width, Side::kKeys, 1.0F);
  q = kv = at::Tensor();
  const at::Tensor probabilities = heads.probabilities(tape);
  const at::Tensor merged = heads.merged(heads.dropped(probabilities), tape.v);
  if (context.keep_cheap) {
    tape.probabilities = probabilities;
    tape.merged = merged;
  }
  return linear(context, merged, p.values[2], p.values[3]);
}

at::Tensor attention_backward(const PassContext& context, const ParameterSpan& p,
                              const at::Tensor& g_MD, const at::Tensor& x_MD,
                              const at::Tensor& memory_MD, const AttentionSite& site,
                              const AttentionTape& tape, at::Tensor* g_memory) {
  const FusedHeads fused(context, site, g_MD.size(1));
  if (fused.take(tape.q)) {
    const at::Tensor merged = tape.merged.defined() ? tape.merged : fused.merged(tape);
    const at::Tensor g_merged = linear_backward(context, g_MD, merged, p.values[2], p.gradients[2],
                                                p.gradients[3], p.write);
    const at::Tensor g_q = at::empty_like(tape.q),
                     g_kv = tape.k.defined() ? at::empty_like(tape.k) : at::Tensor();
    fused.backward(tape, g_merged, g_q, g_kv);
    return projections_backward(context, p, g_q, g_kv, x_MD, memory_MD, g_memory);
  }
  const Heads heads(context, site, g_MD.size(1));
  const std::int64_t width = heads.width;
  const at::Tensor probabilities =
      tape.probabilities.defined() ? tape.probabilities : heads.probabilities(tape);
  at::Tensor dropped = heads.dropped(probabilities);
  const at::Tensor merged = tape.merged.defined() ? tape.merged : heads.merged(dropped, tape.v);
  const at::Tensor g_merged =
      linear_backward(context, g_MD, merged, p.values[2], p.gradients[2], p.gradients[3], p.write);
  const at::Tensor g_out = heads.split(g_merged, 0, Side::kQueries, 1.0F);
  const at::Tensor g_v = heads.weighted_keys(dropped, g_out);
  dropped = at::Tensor();
  at::Tensor g_scores = heads.scores(g_out, tape.v);
  heads.softmax_backward(probabilities, g_scores);
  const at::Tensor g_heads_q = heads.weighted(g_scores, tape.k);
  const at::Tensor g_heads_k = heads.weighted_keys(g_scores, tape.q);
  const bool self = !memory_MD.defined();
  at::Tensor g_q = empty_like_rows(g_MD, {site.query_rows, self ? 3 * width : width});
  at::Tensor g_kv = self ? at::Tensor() : empty_like_rows(g_MD, {site.key_rows, 2 * width});
  at::Tensor& g_keys = self ? g_q : g_kv;
  heads.merge(g_heads_q, g_q, 0, Side::kQueries, heads.scale);
  heads.merge(g_heads_k, g_keys, self ? width : 0, Side::kKeys, 1.0F);
  heads.merge(g_v, g_keys, self ? 2 * width : width, Side::kKeys, 1.0F);
  return projections_backward(context, p, g_q, g_kv, x_MD, memory_MD, g_memory);
}

}  // namespace th::model
