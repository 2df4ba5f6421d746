#include "model/sublayers/attention.hpp"

#include "model/sublayers/attention_in_one_kernel.hpp"
#include "model/sublayers/attention_of_products.hpp"
#include "th/base/hash.hpp"
#include "th/model/memory/tensors.hpp"

#include <utility>

namespace th::model {

Dropout AttentionSite::group_dropout(std::size_t group) const {
  return group == 0 ? dropout : Dropout{hash_pair(dropout.key, group), dropout.rate};
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
  if (self) rotate(context, rows.site.rules, rows.site.places, q, Direction::kForward);
  const bool takes = one_kernel.takes(q);
  if (!takes) products.take_queries(q, tape);
  if (!self) kv = key_value(unit).forward(context, rows.memory_MD);
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
    return query_key_value(unit).backward(context, g_q, rows.x_MD);
  }
  const at::Tensor g_keys = key_value(unit).backward(context, g_kv, rows.memory_MD);
  context.run(*g_memory, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddTo<T>{.y = k.elements(*g_memory), .x = k.elements(g_keys), .count = g_keys.numel()});
  });
  return query(unit).backward(context, g_q, rows.x_MD);
}

}  // namespace th::model
