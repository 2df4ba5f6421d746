#include "th/model/blocks/transformer.hpp"

#include "model/blocks/pass.hpp"
#include "th/base/error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace th::model {

namespace {

/// What products of a device with memory of its own keep; a plan counts it
/// (Transformer::constant_bytes).
at::Tensor make_workspace(const ComputeDevice& device, Arithmetic arithmetic) {
  if (device.memory == ComputeDevice::Memory::kHost || arithmetic == Arithmetic::kShapesOnly)
    return {};
  return at::empty({runtime::kProductWorkspace},
                   at::TensorOptions().dtype(at::kByte).device(device.tensors));
}

at::Tensor sinusoidal_positions(std::int64_t length, std::int64_t width) {
  at::Tensor table = at::empty({length, width}, at::TensorOptions().dtype(at::kFloat));
  float* p = table.data_ptr<float>();
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t d = 0; d < width; d += 2) {
      const double angle =
          static_cast<double>(t) *
          std::exp(-std::log(10000.0) * static_cast<double>(d) / static_cast<double>(width));
      p[t * width + d] = static_cast<float>(std::sin(angle));
      if (d + 1 < width) p[t * width + d + 1] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

}  // namespace

Transformer::Transformer(const config::ModelSection& model, std::int64_t source_vocabulary,
                         std::int64_t target_vocabulary, GemmLibrary gemm, std::int64_t max_length,
                         Arithmetic arithmetic, const ComputeDevice& device)
    : Transformer(model, parameter_units(model, source_vocabulary, target_vocabulary), gemm,
                  max_length, arithmetic, device) {}

Transformer::Transformer(const config::ModelSection& model, ParameterUnits parameters,
                         GemmLibrary gemm, std::int64_t max_length, Arithmetic arithmetic,
                         const ComputeDevice& device)
    : model_(model),
      workspace_(make_workspace(device, arithmetic)),
      gemm_(device.kernels->multiply != nullptr ? Gemm(*device.kernels, workspace_)
                                                : Gemm(gemm, arithmetic)),
      units_(std::move(parameters.units)),
      aliases_(std::move(parameters.aliases)),
      device_(device),
      positions_(sinusoidal_positions(max_length, model.d_model).to(device.tensors)),
      copies_(device.copies != nullptr ? std::make_unique<BatchCopies>(*device.copies) : nullptr) {
  ensure(model.d_model % model.num_heads == 0,
         "Transformer: d_model must be a multiple of num_heads");
  index_units();
}

void Transformer::index_units() {
  const bool tied = model_.tie_embeddings;
  source_unit_ = 0;
  target_unit_ = tied ? 0 : 1;
  first_encoder_ = target_unit_ + 1;
  first_decoder_ = first_encoder_ + model_.num_encoder_layers;
  output_unit_ = first_decoder_ + model_.num_decoder_layers;
  ensure(output_unit_ + 1 == std::ssize(units_),
         "Transformer: the units are not those of its layers");
  long_lived_.assign(units_.size(), false);
  long_lived_[0] = tied;
  forward_order_.push_back(source_unit_);
  for (std::int64_t u = first_encoder_; u < first_decoder_; ++u) forward_order_.push_back(u);
  if (!tied) forward_order_.push_back(target_unit_);
  for (std::int64_t u = first_decoder_; u < output_unit_; ++u) forward_order_.push_back(u);
}

PassContext Transformer::context(double dropout, std::uint64_t key, bool training) const {
  const bool keep_cheap =
      training && model_.gradient_checkpointing != config::GradientCheckpointing::kSelective;
  return {&gemm_,
          model_.num_heads,
          model_.norm == config::Norm::kPre,
          static_cast<float>(dropout),
          key,
          keep_cheap,
          device_.kernels,
          device_.memory,
          device_.fused_attention};
}

at::Tensor Transformer::embed_ids(const Pass& pass, const UnitTensors& unit, std::int64_t rows,
                                  const std::int64_t* ids, const std::int32_t* places,
                                  std::uint64_t site) const {
  const std::int64_t d = model_.d_model;
  const at::Tensor& weight = unit.values[0];
  at::Tensor y = at::empty({rows, d}, weight.options());
  pass.context.run(weight, [&]<typename T>(const Kernels<T>& k) {
    k(op::Embed<T>{.weight = k.elements(weight),
                   .ids = ids,
                   .position = positions_.data_ptr<float>(),
                   .places = places,
                   .y = k.elements(y),
                   .rows = rows,
                   .width = d,
                   .scale = std::sqrt(static_cast<float>(d)),
                   .dropout = pass.context.site(kEmbeddingBlock, site)});
  });
  return y;
}

bool Transformer::fuses_attention(at::ScalarType type, std::int64_t length) const {
  return context(0, 0, false).fuses(type, length, length, model_.d_model / model_.num_heads);
}

void Transformer::require_places(std::int64_t length) const {
  if (length > positions_.size(0))
    throw InternalError("a sentence is longer than the position table");
}

at::Tensor Transformer::encode(ParameterSource& source, Pass& pass) const {
  require_places(pass.batch.source_length);
  at::Tensor x = embed_ids(pass, source.open_forward(source_unit_), pass.batch.source_tokens,
                           pass.arrays.source, pass.arrays.source_places, 0);
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

at::Tensor Transformer::decode(ParameterSource& source, Pass& pass,
                               const at::Tensor& memory) const {
  require_places(pass.batch.target_length);
  at::Tensor x = embed_ids(pass, source.open_forward(target_unit_), pass.batch.target_tokens,
                           pass.arrays.target_in, pass.arrays.target_places, 1);
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

at::Tensor Transformer::project(const Pass& pass, ParameterSource& source, const at::Tensor& x,
                                LayerNormTape& tape) const {
  const UnitTensors& unit = source.open_forward(output_unit_);
  const ParameterSpan p{unit.values, {}};
  const at::Tensor h = layer_norm_forward(pass.context, p.part(0, 2), x, tape);
  at::Tensor y = linear(pass.context, h, output_weight(pass, unit), unit.values[2]);
  source.close_forward(output_unit_);
  return y;
}

at::Tensor Transformer::logits(ParameterSource& source, const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = context(0.0, 0, false), .copies = copies_.get()};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  LayerNormTape tape;
  at::Tensor scores = project(pass, source, decode(source, pass, memory), tape);
  if (model_.tie_embeddings) source.close_forward(source_unit_);
  return scores;
}

at::Tensor Transformer::new_total() const {
  at::Tensor total = at::empty({1}, at::TensorOptions().dtype(at::kDouble).device(device_.tensors));
  if (gemm_.computes()) total.zero_();
  return total;
}

double Transformer::read_total(const at::Tensor& total) const {
  return gemm_.computes() ? total.item<double>() : 0;
}

void Transformer::loss_slices(const Pass& pass, const at::Tensor& hidden, const at::Tensor& weight,
                              const at::Tensor& bias, float smoothing, float gradient_scale,
                              double* loss, const LogitSlice& each) const {
  const at::Tensor row_losses =
      at::empty({std::min(kLogitRows, hidden.size(0))}, hidden.options().dtype(at::kDouble));
  const std::int64_t all =
      gemm_.computes()
          ? hidden.size(0)
          : std::min(kLogitRows, hidden.size(0));  // a plan needs the largest slice alone
  for (std::int64_t first = 0; first < all; first += kLogitRows) {
    const std::int64_t rows = std::min(kLogitRows, all - first);
    const at::Tensor h = hidden.narrow(0, first, rows);
    const bool late = pass.context.memory == ComputeDevice::Memory::kHost &&
                      !gemm_.adds_bias(h.scalar_type());  // the loss adds it
    at::Tensor scores = linear(pass.context, h, weight, late ? at::Tensor() : bias);
    pass.context.run(scores, [&]<typename T>(const Kernels<T>& k) {
      auto* of_rows = row_losses.data_ptr<double>();
      k(op::CrossEntropy<T>{.logits = k.elements(scores),
                            .labels = pass.arrays.target_out + first,
                            .row_losses = of_rows,
                            .bias = late ? k.elements(bias) : nullptr,
                            .rows = rows,
                            .vocabulary = scores.size(1),
                            .smoothing = smoothing,
                            .g_scale = gradient_scale});
      k(op::AddTotal<T>{.x = of_rows, .out = loss, .count = rows});
    });
    if (each) each(first, h, scores);
  }
}

LossSum Transformer::evaluate(ParameterSource& source, const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = context(0.0, 0, false), .copies = copies_.get()};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  const at::Tensor x = decode(source, pass, memory);
  const at::Tensor total = new_total();
  {
    const UnitTensors& unit = source.open_forward(output_unit_);
    LayerNormTape tape;
    const at::Tensor hidden =
        layer_norm_forward(pass.context, ParameterSpan{unit.values, {}}.part(0, 2), x, tape);
    loss_slices(pass, hidden, output_weight(pass, unit), unit.values[2], 0.0F, 0.0F,
                total.data_ptr<double>(), {});
    source.close_forward(output_unit_);
  }
  if (model_.tie_embeddings) source.close_forward(source_unit_);
  return {read_total(total), batch.target_tokens};
}

const at::Tensor& Transformer::output_weight(const Pass& pass, const UnitTensors& unit) const {
  return model_.tie_embeddings ? pass.tied : unit.values[3];
}

LossSum Transformer::train_slot(ParameterSource& source, const data::Batch& batch,
                                std::uint64_t dropout_key, double gradient_scale,
                                double label_smoothing) {
  c10::InferenceMode no_grad;
  const at::Tensor total = new_total();
  train_slot(source, batch, dropout_key, gradient_scale, label_smoothing, total.data_ptr<double>());
  return {read_total(total), batch.target_tokens};
}

void Transformer::train_slot(ParameterSource& source, const data::Batch& batch,
                             std::uint64_t dropout_key, double gradient_scale,
                             double label_smoothing, double* loss) {
  ensure(gradient_scale != 0, "Transformer: a gradient scale of 0 gives no gradients");
  c10::InferenceMode no_grad;
  const config::GradientCheckpointing kind = model_.gradient_checkpointing;
  const bool recompute =
      kind == config::GradientCheckpointing::kFull || kind == config::GradientCheckpointing::kSqrt;
  Pass pass{.batch = batch,
            .context = context(model_.dropout, dropout_key, true),
            .keep = true,
            .recompute = recompute,
            .copies = copies_.get()};
  open_tied(source, pass);
  pass.memory = encode(source, pass);
  at::Tensor x = decode(source, pass, pass.memory);
  backward(source, pass, std::move(x), static_cast<float>(label_smoothing),
           static_cast<float>(gradient_scale), loss);
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
