#include "th/model/transformer.hpp"

#include "pass.hpp"
#include "th/base/error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace th::model {

namespace {

at::Tensor sinusoidal_positions(std::int64_t length, std::int64_t width) {
  at::Tensor table = at::empty({length, width}, at::TensorOptions().dtype(at::kFloat));
  float* p = table.data_ptr<float>();
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t d = 0; d < width; d += 2) {
      const double angle = static_cast<double>(t) * std::exp(-std::log(10000.0) * static_cast<double>(d) / static_cast<double>(width));
      p[t * width + d] = static_cast<float>(std::sin(angle));
      if (d + 1 < width) p[t * width + d + 1] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

}  // namespace

Transformer::Transformer(const config::ModelSection& model, std::int64_t source_vocabulary, std::int64_t target_vocabulary, GemmLibrary gemm,
                         std::int64_t max_length, Arithmetic arithmetic)
    : Transformer(model, parameter_units(model, source_vocabulary, target_vocabulary), gemm, max_length, arithmetic) {}

Transformer::Transformer(const config::ModelSection& model, ParameterUnits parameters, GemmLibrary gemm, std::int64_t max_length,
                         Arithmetic arithmetic)
    : model_(model), gemm_(gemm, arithmetic), units_(std::move(parameters.units)), aliases_(std::move(parameters.aliases)),
      positions_(sinusoidal_positions(max_length, model.d_model)) {
  ensure(model.d_model % model.num_heads == 0, "Transformer: d_model must be a multiple of num_heads");
  index_units();
}

void Transformer::index_units() {
  const bool tied = model_.tie_embeddings;
  source_unit_ = 0;
  target_unit_ = tied ? 0 : 1;
  first_encoder_ = target_unit_ + 1;
  first_decoder_ = first_encoder_ + model_.num_encoder_layers;
  output_unit_ = first_decoder_ + model_.num_decoder_layers;
  ensure(output_unit_ + 1 == std::ssize(units_), "Transformer: the units are not those of its layers");
  long_lived_.assign(units_.size(), false);
  long_lived_[0] = tied;
  forward_order_.push_back(source_unit_);
  for (std::int64_t u = first_encoder_; u < first_decoder_; ++u) forward_order_.push_back(u);
  if (!tied) forward_order_.push_back(target_unit_);
  for (std::int64_t u = first_decoder_; u < output_unit_; ++u) forward_order_.push_back(u);
}

PassContext Transformer::context(double dropout, std::uint64_t key, bool training) const {
  const bool keep_cheap = training && model_.gradient_checkpointing != config::GradientCheckpointing::kSelective;
  return {&gemm_, model_.num_heads, model_.norm == config::Norm::kPre, static_cast<float>(dropout), key, keep_cheap};
}

at::Tensor Transformer::embed_ids(const Pass& pass, const UnitTensors& unit, const std::vector<std::int64_t>& ids,
                                  const at::Tensor& places, std::uint64_t site) const {
  const std::int64_t d = model_.d_model;
  const std::int64_t rows = places.size(0);
  const at::Tensor& weight = unit.values[0];
  at::Tensor y = at::empty({rows, d}, weight.options());
  pass.context.run(weight, [&](auto element) {
    using T = decltype(element);
    embed(elements<T>(weight), ids.data(), positions_.data_ptr<float>(), places.data_ptr<std::int32_t>(), elements<T>(y), rows, d, std::sqrt(static_cast<float>(d)),
          pass.context.site(kEmbeddingBlock, site));
  });
  return y;
}

void Transformer::require_places(std::int64_t length) const {
  if (length > positions_.size(0)) throw InternalError("a sentence is longer than the position table");
}

at::Tensor Transformer::encode(ParameterSource& source, Pass& pass) const {
  require_places(pass.batch.source_length);
  at::Tensor x = embed_ids(pass, source.open_forward(source_unit_), pass.batch.source, pass.rows.source_places(), 0);
  source.close_forward(source_unit_);
  const std::int64_t segment = segment_length(model_.num_encoder_layers);
  for (std::int64_t l = 0; l < model_.num_encoder_layers; ++l) {
    const UnitTensors& unit = source.open_forward(first_encoder_ + l);
    EncoderTape tape;
    at::Tensor y = encoder_layer(pass, l, unit, x, tape);
    if (pass.recompute) {
      tape = EncoderTape{};
      if (l % segment == 0) tape.input = x;
    }
    if (pass.keep) pass.encoder.push_back(std::move(tape));
    x = std::move(y);
    source.close_forward(first_encoder_ + l);
  }
  return x;
}

at::Tensor Transformer::decode(ParameterSource& source, Pass& pass, const at::Tensor& memory) const {
  require_places(pass.batch.target_length);
  at::Tensor x = embed_ids(pass, source.open_forward(target_unit_), pass.batch.target_in, pass.rows.target_places(), 1);
  source.close_forward(target_unit_);
  const std::int64_t segment = segment_length(model_.num_decoder_layers);
  for (std::int64_t l = 0; l < model_.num_decoder_layers; ++l) {
    const UnitTensors& unit = source.open_forward(first_decoder_ + l);
    DecoderTape tape;
    at::Tensor y = decoder_layer(pass, l, unit, x, memory, tape);
    if (pass.recompute) {
      tape = DecoderTape{};
      if (l % segment == 0) tape.input = x;
    }
    if (pass.keep) pass.decoder.push_back(std::move(tape));
    x = std::move(y);
    source.close_forward(first_decoder_ + l);
  }
  return x;
}

at::Tensor Transformer::project(const Pass& pass, ParameterSource& source, const at::Tensor& x, LayerNormTape& tape) const {
  const UnitTensors& unit = source.open_forward(output_unit_);
  const ParameterSpan p{unit.values, {}};
  const at::Tensor h = layer_norm_forward(pass.context, p.part(0, 2), x, tape);
  at::Tensor y = linear(pass.context, h, output_weight(pass, unit), unit.values[2]);
  source.close_forward(output_unit_);
  return y;
}

at::Tensor Transformer::logits(ParameterSource& source, const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = context(0.0, 0, false)};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  LayerNormTape tape;
  at::Tensor scores = project(pass, source, decode(source, pass, memory), tape);
  if (model_.tie_embeddings) source.close_forward(source_unit_);
  return scores;
}

double Transformer::loss_slices(const Pass& pass, const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& bias, float smoothing,
                                float gradient_scale, const LogitSlice& each) const {
  double loss = 0;
  const std::int64_t all = gemm_.computes() ? hidden.size(0) : std::min(kLogitRows, hidden.size(0));  // a plan needs the largest slice alone
  for (std::int64_t first = 0; first < all; first += kLogitRows) {
    const std::int64_t rows = std::min(kLogitRows, all - first);
    const at::Tensor h = hidden.narrow(0, first, rows);
    at::Tensor scores = linear(pass.context, h, weight, bias);
    pass.context.run(scores, [&](auto element) {
      loss += cross_entropy(elements<decltype(element)>(scores), pass.batch.target_out.data() + first, rows, scores.size(1), smoothing, gradient_scale);
    });
    if (each) each(first, h, scores);
  }
  return loss;
}

LossSum Transformer::evaluate(ParameterSource& source, const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = context(0.0, 0, false)};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  const at::Tensor x = decode(source, pass, memory);
  LossSum sum{0, batch.target_tokens};
  {
    const UnitTensors& unit = source.open_forward(output_unit_);
    LayerNormTape tape;
    const at::Tensor hidden = layer_norm_forward(pass.context, ParameterSpan{unit.values, {}}.part(0, 2), x, tape);
    sum.loss_sum = loss_slices(pass, hidden, output_weight(pass, unit), unit.values[2], 0.0F, 0.0F, {});
    source.close_forward(output_unit_);
  }
  if (model_.tie_embeddings) source.close_forward(source_unit_);
  return sum;
}

const at::Tensor& Transformer::output_weight(const Pass& pass, const UnitTensors& unit) const {
  return model_.tie_embeddings ? pass.tied : unit.values[3];
}

LossSum Transformer::train_slot(ParameterSource& source, const data::Batch& batch, std::uint64_t dropout_key, double gradient_scale,
                                double label_smoothing) {
  ensure(gradient_scale != 0, "Transformer: a gradient scale of 0 gives no gradients");
  c10::InferenceMode no_grad;
  const config::GradientCheckpointing kind = model_.gradient_checkpointing;
  const bool recompute = kind == config::GradientCheckpointing::kFull || kind == config::GradientCheckpointing::kSqrt;
  Pass pass{.batch = batch, .context = context(model_.dropout, dropout_key, true), .keep = true, .recompute = recompute};
  open_tied(source, pass);
  pass.memory = encode(source, pass);
  at::Tensor x = decode(source, pass, pass.memory);
  LossSum sum{0, batch.target_tokens};
  sum.loss_sum = backward(source, pass, std::move(x), static_cast<float>(label_smoothing), static_cast<float>(gradient_scale));
  return sum;
}

std::int64_t Transformer::segment_length(std::int64_t layers) const {
  if (model_.gradient_checkpointing != config::GradientCheckpointing::kSqrt) return 1;
  std::int64_t length = 1;
  while (length * length < layers) ++length;
  return length;
}

void Transformer::open_tied(ParameterSource& source, Pass& pass) const {
  if (model_.tie_embeddings) pass.tied = source.open_forward(source_unit_).values[0];
}

void Transformer::idle_stacks(ParameterSource& source) const {
  if (model_.tie_embeddings) source.open_forward(source_unit_);
  for (const std::int64_t u : forward_order_) {
    source.open_forward(u);
    source.close_forward(u);
  }
}

void Transformer::idle_forward(ParameterSource& source) const {
  idle_stacks(source);
  source.open_forward(output_unit_);
  source.close_forward(output_unit_);
  if (model_.tie_embeddings) source.close_forward(source_unit_);
}

void Transformer::idle_slot(ParameterSource& source) const {
  const bool tied = model_.tie_embeddings;
  idle_stacks(source);
  if (tied) {
    source.open_backward(source_unit_);
    source.close_forward(source_unit_);
  }
  const auto back = [&](std::int64_t unit) {
    source.open_backward(unit);
    source.close_backward(unit);
  };
  const auto stack = [&](std::int64_t first, std::int64_t layers) {
    backward_layers(
        layers,
        [&](std::int64_t k) {
          source.open_forward(first + k);
          source.close_forward(first + k);
        },
        [&](std::int64_t l) { back(first + l); });
  };
  back(output_unit_);
  stack(first_decoder_, model_.num_decoder_layers);
  if (!tied) back(target_unit_);
  stack(first_encoder_, model_.num_encoder_layers);
  if (!tied) source.open_backward(source_unit_);
  source.close_backward(source_unit_);
}

}  // namespace th::model
