#include "model/sublayers/attention.hpp"

#include "model/sublayers/attention_in_one_kernel.hpp"
#include "model/sublayers/attention_of_products.hpp"
#include "th/base/hash.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <utility>

namespace th::model {

Dropout AttentionSite::group_dropout(std::size_t group) const {
  return group == 0 ? dropout : Dropout{hash_pair(dropout.key, group), dropout.rate};
}

AttentionGroup AttentionSite::all_sentences() const {
  AttentionGroup all;
  for (const AttentionGroup& g : groups) {
    all.sentences = g.first + g.sentences;
    all.queries = std::max(all.queries, g.queries);
    all.keys = std::max(all.keys, g.keys);
  }
  return all;
}

Linear Attention::query_key_value(const ParameterSpan& unit) const {
  return Linear::of(unit.part(range_), 0);
}

Linear Attention::query(const ParameterSpan& unit) const {
  const Linear all = query_key_value(unit);
  return all.outputs(0, all.weight.size(1));
}

Linear Attention::key_value(const ParameterSpan& unit) const {
  const Linear all = query_key_value(unit);
  return all.outputs(all.weight.size(1), 2 * all.weight.size(1));
}

Linear Attention::out(const ParameterSpan& unit) const { return Linear::of(unit.part(range_), 2); }

using Direction = runtime::RotationRule::Direction;

namespace {

/// Place of a norm's weight among an attention's tensors.
std::size_t norm_weight(Attention::Part part) { return part == Attention::Part::kQueries ? 4 : 5; }

}  // namespace

void Attention::normalize(const PassContext& context, const ParameterSpan& unit,
                          const at::Tensor& projected, std::int64_t column, Part part,
                          HeadNormTape* tape) const {
  if (!has_norms()) return;
  const ParameterSpan p = unit.part(range_);
  const at::Tensor& gamma = p.values[norm_weight(part)];
  const std::int64_t rows = projected.size(0), width = gamma.size(0);
  HeadNormTape made;
  made.rstd = model::empty({rows, context.heads}, projected.options().dtype(at::kFloat));
  if (tape != nullptr)
    made.before = model::empty({rows, context.heads, width}, projected.options());
  context.run(projected, [&]<typename T>(const Kernels<T>& k) {
    T* first = k.elements(projected) + column;
    k(op::RmsNorm<T>{.x = first,
                     .gamma = k.elements(gamma),
                     .y = first,
                     .kept = tape != nullptr ? k.elements(made.before) : nullptr,
                     .rstd = fp32(made.rstd),
                     .rows = rows,
                     .groups = context.heads,
                     .columns = width,
                     .stride = projected.size(1),
                     .eps = context.norm_eps});
  });
  if (tape != nullptr) *tape = std::move(made);
}

void Attention::normalize_backward(const PassContext& context, const ParameterSpan& unit,
                                   const at::Tensor& g_projected, std::int64_t column, Part part,
                                   const HeadNormTape& tape) const {
  if (!has_norms()) return;
  const ParameterSpan p = unit.part(range_);
  context.run(g_projected, [&]<typename T>(const Kernels<T>& k) {
    T* first = k.elements(g_projected) + column;
    k(op::RmsNormBackward<T>{.g = first,
                             .x = k.elements(tape.before),
                             .gamma = k.elements(p.values[norm_weight(part)]),
                             .rstd = fp32(tape.rstd),
                             .g_x = first,
                             .g_gamma = fp32(p.gradients[norm_weight(part)]),
                             .rows = g_projected.size(0),
                             .groups = context.heads,
                             .columns = tape.before.size(2),
                             .stride = g_projected.size(1)});
  });
}

void Attention::rotate(const PassContext& context, const AttentionRules& rules,
                       const std::int32_t* places, const at::Tensor& projected,
                       Direction direction) {
  if (!rules.rotation.rotates()) return;
  const std::int64_t width = projected.size(1) / 3;
  context.run(projected, [&]<typename T>(const Kernels<T>& k) {
    for (const std::int64_t column : {std::int64_t{0}, width}) {
      k(op::RotatePositions<T>{.x = k.elements(projected) + column,
                               .places = places,
                               .rule = rules.rotation,
                               .direction = direction,
                               .rows = projected.size(0),
                               .heads = context.heads,
                               .width = width / context.heads,
                               .stride = projected.size(1)});
    }
  });
}

at::Tensor Attention::forward(const PassContext& context, const ParameterSpan& unit,
                              const AttentionRows& rows, AttentionTape& tape) const {
  const std::int64_t width = rows.x_MD.size(1);
  const AttentionInOneKernel one_kernel(context, rows.site, width);
  const AttentionOfProducts products(context, rows.site, width);
  const bool self = !rows.memory_MD.defined();
  at::Tensor q = (self ? query_key_value(unit) : query(unit)).forward(context, rows.x_MD), kv;
  normalize(context, unit, q, 0, Part::kQueries, &tape.query_norm);
  if (self) normalize(context, unit, q, width, Part::kKeys, &tape.key_norm);
  if (self) rotate(context, rows.site.rules, rows.site.places, q, Direction::kForward);
  const bool takes = one_kernel.takes(q);
  if (!takes) products.take_queries(q, tape);
  if (!self) {
    kv = key_value(unit).forward(context, rows.memory_MD);
    normalize(context, unit, kv, 0, Part::kKeys, &tape.key_norm);
  }
  if (takes) {
    tape.q = std::move(q);
    tape.k = std::move(kv);
    const at::Tensor merged = one_kernel.merged(tape);
    if (context.keep_cheap) tape.merged = merged;
    return out(unit).forward(context, merged);
  }
  products.take_keys(self ? q : kv, tape);
  q = kv = at::Tensor();
  const at::Tensor probabilities = products.probabilities(tape);
  const at::Tensor merged = products.merged(products.dropped(probabilities), tape.v);
  if (context.keep_cheap) {
    tape.probabilities = probabilities;
    tape.merged = merged;
  }
  return out(unit).forward(context, merged);
}

at::Tensor Attention::backward(const PassContext& context, const ParameterSpan& unit,
                               const at::Tensor& g_MD, const AttentionRows& rows,
                               const AttentionTape& tape, at::Tensor* g_memory) const {
  const std::int64_t width = g_MD.size(1);
  const bool self = !rows.memory_MD.defined();
  const AttentionInOneKernel one_kernel(context, rows.site, width);
  at::Tensor g_q, g_kv;
  if (one_kernel.takes(tape.q)) {
    const at::Tensor merged = tape.merged.defined() ? tape.merged : one_kernel.merged(tape);
    const at::Tensor g_merged = out(unit).backward(context, g_MD, merged);
    g_q = model::empty_like(tape.q);
    if (!self) g_kv = model::empty_like(tape.k);
    one_kernel.backward(tape, g_merged, g_q, g_kv);
  } else {
    const AttentionOfProducts products(context, rows.site, width);
    const at::Tensor probabilities =
        tape.probabilities.defined() ? tape.probabilities : products.probabilities(tape);
    at::Tensor dropped = products.dropped(probabilities);
    const at::Tensor merged =
        tape.merged.defined() ? tape.merged : products.merged(dropped, tape.v);
    const at::Tensor g_merged = out(unit).backward(context, g_MD, merged);
    AttentionOfProducts::Gradients g =
        products.backward(tape, probabilities, std::move(dropped), g_merged, self);
    g_q = std::move(g.q);
    g_kv = std::move(g.kv);
  }
  if (self) {
    rotate(context, rows.site.rules, rows.site.places, g_q, Direction::kBackward);
    normalize_backward(context, unit, g_q, 0, Part::kQueries, tape.query_norm);
    normalize_backward(context, unit, g_q, width, Part::kKeys, tape.key_norm);
    return query_key_value(unit).backward(context, g_q, rows.x_MD);
  }
  normalize_backward(context, unit, g_q, 0, Part::kQueries, tape.query_norm);
  normalize_backward(context, unit, g_kv, 0, Part::kKeys, tape.key_norm);
  const at::Tensor g_keys = key_value(unit).backward(context, g_kv, rows.memory_MD);
  context.run(*g_memory, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddTo<T>{.y = k.elements(*g_memory), .x = k.elements(g_keys), .count = g_keys.numel()});
  });
  return query(unit).backward(context, g_q, rows.x_MD);
}

}  // namespace th::model
