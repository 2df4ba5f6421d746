#include "model/blocks/embedding.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/parameters/sinusoids.hpp"

#include <cmath>
#include <utility>

namespace th::model {

namespace {

/// The dropout block of embeddings; its sites are the sides.
constexpr std::uint64_t kEmbeddingBlock = 1000000;

float scale_of(std::int64_t width) { return std::sqrt(static_cast<float>(width)); }

}  // namespace

at::Tensor sinusoidal_positions(const config::ModelSection& model, std::int64_t length) {
  at::Tensor table = model::empty({length, model.d_model}, at::TensorOptions().dtype(at::kFloat));
  fill_sinusoids(model, length, table.data_ptr<float>());
  return table;
}

Embedding::Embedding(const config::ModelSection& model, EmbeddingUnit unit, Side side,
                     at::Tensor positions, std::int64_t longest)
    : unit_(std::move(unit)),
      side_(side),
      of_side_(side == Side::kSource ? unit_.source : unit_.target),
      norm_(of_side_.norm),
      zero_id_(side == Side::kTarget && model.start == config::Start::kZero ? data::kBegin : -1),
      positions_(std::move(positions)),
      longest_(longest) {}

Dropout Embedding::site(const Pass& pass) const {
  return pass.context.site(kEmbeddingBlock, side_ == Side::kSource ? 0 : 1);
}

at::Tensor Embedding::position_table(const PassContext& context, const ParameterSpan& p) const {
  if (!learned()) return positions_;
  const at::Tensor& values = p.values[of_side_.positions.first];
  if (values.scalar_type() == at::kFloat) return values;
  at::Tensor table = model::empty(values.sizes(), values.options().dtype(at::kFloat));
  context.run(values, [&]<typename T>(const Kernels<T>& k) {
    k(op::Widen<T>{.x = k.elements(values), .y = fp32(table), .count = table.numel()});
  });
  return table;
}

Embedding::Rows Embedding::rows_of(const Pass& pass) const {
  const bool source = side_ == Side::kSource;
  return {source ? pass.arrays.source : pass.arrays.target_in,
          source ? pass.arrays.source_places : pass.arrays.target_places,
          source ? pass.batch.source_tokens : pass.batch.target_tokens,
          source ? pass.batch.source_length : pass.batch.target_length};
}

at::Tensor Embedding::embed(const PassContext& context, const ParameterSpan& p, const Rows& rows,
                            Dropout dropout) const {
  const at::Tensor& weight = p.values[unit_.weight.first];
  const std::int64_t width = weight.size(1);
  const at::Tensor table = position_table(context, p);
  if (rows.longest > longest_)
    throw InternalError("a sentence is longer than the model's positions");
  at::Tensor y = model::empty({rows.count, width}, weight.options());
  context.run(weight, [&]<typename T>(const Kernels<T>& k) {
    k(op::Embed<T>{.weight = k.elements(weight),
                   .ids = rows.ids,
                   .position = table.defined() ? fp32(table) : nullptr,
                   .places = rows.places,
                   .y = k.elements(y),
                   .rows = rows.count,
                   .width = width,
                   .scale = scale_of(width),
                   .dropout = dropout,
                   .zero_id = zero_id_});
  });
  return y;
}

at::Tensor Embedding::forward(const Pass& pass, const ParameterSpan& p, const at::Tensor&,
                              Tape&) const {
  if (!norm_.exists()) return embed(pass.context, p, rows_of(pass), site(pass));
  NormTape tape;
  const at::Tensor y =
      norm_.forward(pass.context, p, embed(pass.context, p, rows_of(pass), {}), tape);
  apply_dropout(pass.context, y, y, site(pass));
  return y;
}

at::Tensor Embedding::backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                               const Tape&) const {
  const PassContext& c = pass.context;
  at::Tensor g = g_MD;
  Dropout dropout = site(pass);
  if (norm_.exists()) {
    // The rows before the norm are made again: that is one pass over them, and nothing is kept.
    NormTape tape;
    (void)norm_.forward(c, p, embed(c, p, rows_of(pass), {}), tape);
    g = model::empty_like(g_MD);
    apply_dropout(c, g_MD, g, std::exchange(dropout, {}));
    g = norm_.backward(c, p, g, tape);
  }
  const bool source = side_ == Side::kSource;
  c.run(g, [&]<typename T>(const Kernels<T>& k) {
    k(op::EmbedBackward<T>{.g = k.elements(g),
                           .ids = rows_of(pass).ids,
                           .g_weight = fp32(p.gradients[unit_.weight.first]),
                           .rows = g.size(0),
                           .width = g.size(1),
                           .scale = scale_of(g.size(1)),
                           .dropout = dropout,
                           .zero_id = zero_id_});
    if (!learned()) return;
    k(op::PositionsBackward<T>{
        .g = k.elements(g),
        .offsets = source ? pass.arrays.source_offsets : pass.arrays.target_offsets,
        .g_position = fp32(p.gradients[of_side_.positions.first]),
        .batch = pass.batch.sentences,
        .length = rows_of(pass).longest,
        .width = g.size(1),
        .dropout = dropout});
  });
  return {};
}

at::Tensor Embedding::step(const DecodingRows& rows, const ParameterSpan& p, const at::Tensor&,
                           LayerCache&) const {
  const PassContext& c = rows.pass.context;
  const at::Tensor y =
      embed(c, p,
            {rows.ids.const_data_ptr<std::int64_t>(), rows.places.const_data_ptr<std::int32_t>(),
             rows.count, rows.step + 1},
            {});
  if (!norm_.exists()) return y;
  NormTape tape;
  return norm_.forward(c, p, y, tape);
}

}  // namespace th::model
