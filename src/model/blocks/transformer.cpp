#include "th/model/blocks/transformer.hpp"

#include "model/blocks/decoder_layer.hpp"
#include "model/blocks/embedding.hpp"
#include "model/blocks/encoder_layer.hpp"
#include "model/blocks/output.hpp"
#include "model/blocks/position_tables.hpp"
#include "model/blocks/stack.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <utility>

namespace th::model {

namespace {

/// What products of a device with memory of its own keep; a plan counts it
/// (Transformer::constant_bytes).
at::Tensor make_workspace(const ComputeDevice& device, Arithmetic arithmetic) {
  if (device.memory == runtime::DeviceMemory::kHost || arithmetic == Arithmetic::kShapesOnly)
    return {};
  return model::empty({runtime::kProductWorkspace},
                      at::TensorOptions().dtype(at::kByte).device(device.tensors));
}

Stack make_encoder(const config::ModelSection& model, const ModelUnits& units,
                   const PositionTables& positions, std::int64_t longest) {
  std::vector<Stack::Placed> layers;
  for (std::int64_t l = 0; l < std::ssize(units.encoder); ++l) {
    layers.push_back({units.encoder_layer(l), std::make_unique<EncoderLayer>(
                                                  model, units.encoder[static_cast<std::size_t>(l)],
                                                  l, positions.inputs())});
  }
  return {{units.source_embedding(),
           std::make_unique<Embedding>(model, units.embeddings.front(), Embedding::Side::kSource,
                                       positions.added, longest)},
          std::move(layers),
          model.gradient_checkpointing};
}

Stack make_decoder(const config::ModelSection& model, const ModelUnits& units,
                   const PositionTables& positions, std::int64_t longest) {
  std::vector<Stack::Placed> layers;
  for (std::int64_t l = 0; l < std::ssize(units.decoder); ++l) {
    layers.push_back({units.decoder_layer(l), std::make_unique<DecoderLayer>(
                                                  model, units.decoder[static_cast<std::size_t>(l)],
                                                  l, positions.inputs())});
  }
  return {{units.target_embedding(),
           std::make_unique<Embedding>(model, units.embeddings.back(), Embedding::Side::kTarget,
                                       positions.added, longest)},
          std::move(layers),
          model.gradient_checkpointing};
}

}  // namespace

Transformer::Transformer(const TransformerSpec& spec, GemmLibrary gemm, Arithmetic arithmetic,
                         const ComputeDevice& device)
    : model_(spec.model),
      device_(device),
      workspace_(make_workspace(device, arithmetic)),
      gemm_(device.kernels->multiply != nullptr ? Gemm(*device.kernels, workspace_)
                                                : Gemm(gemm, arithmetic)),
      inference_gemm_(device.memory == runtime::DeviceMemory::kHost ? gemm_.rowwise() : gemm_),
      longest_(spec.max_length),
      positions_(std::make_unique<PositionTables>(spec, device.tensors)),
      cuts_(attention_cuts(spec)),
      copies_(device.copies != nullptr ? std::make_unique<BatchCopies>(*device.copies) : nullptr) {
  ensure(model_.d_model % model_.num_heads == 0,
         "Transformer: d_model must be a multiple of num_heads");
  ModelUnits units =
      model_units(model_, spec.source_vocabulary, spec.target_vocabulary, spec.max_length);
  units_ = units.specs();
  shared_ = {units.aliases, std::vector<bool>(units_.size(), false)};
  shared_unit_ = units.shared_unit();
  if (shared_unit_ >= 0) shared_.long_lived[static_cast<std::size_t>(shared_unit_)] = true;
  encoder_shares_ = units.shared_embeddings();
  encoder_ = std::make_unique<Stack>(make_encoder(model_, units, *positions_, longest_));
  decoder_ = std::make_unique<Stack>(make_decoder(model_, units, *positions_, longest_));
  output_ = std::make_unique<Output>(model_, std::move(units.output));
}

Transformer::~Transformer() = default;
Transformer::Transformer(Transformer&&) noexcept = default;

void Transformer::keep_parameters(KeptProducts products) {
  inference_gemm_ =
      products == KeptProducts::kInt8 ? gemm_.quantized() : gemm_.rowwise(WeightLife::kStay);
}

void Transformer::record_on(const std::shared_ptr<runtime::FlightRecord>& record) {
  if (copies_) copies_->record_on(record);
}

std::int64_t Transformer::constant_bytes() const noexcept {
  return table_bytes(model_, longest_) +
         (device_.memory == runtime::DeviceMemory::kOwn ? runtime::kProductWorkspace : 0);
}

double Transformer::training_flops(const PassSizes& sizes) const {
  return 2 * (encoder_->training_products(sizes) + decoder_->training_products(sizes) +
              3 * output_->products(sizes));
}

PassContext Transformer::context(std::uint64_t key, bool training) const {
  const bool keep_cheap =
      training && model_.gradient_checkpointing != config::GradientCheckpointing::kSelective;
  // A rate of attention or activations that is negative is that of the model.
  const auto rate = [&](double own) {
    return training ? static_cast<float>(own < 0 ? model_.dropout : own) : 0.0F;
  };
  return {.gemm = training ? &gemm_ : &inference_gemm_,
          .heads = model_.num_heads,
          .pre_norm = model_.norm == config::Norm::kPre,
          .dropout = rate(model_.dropout),
          .dropout_key = key,
          .keep_cheap = keep_cheap,
          .kernels = device_.kernels,
          .memory = device_.memory,
          .fused_attention = device_.fused_attention,
          .norm_kind = model_.norm_kind,
          .norm_eps = static_cast<float>(model_.norm_eps),
          .activation = model_.activation,
          .attention_dropout = rate(model_.attention_dropout),
          .activation_dropout = rate(model_.activation_dropout),
          .cuts = cuts_};
}

PassContext Transformer::inference() const { return context(0, false); }

bool fuses_attention(const Transformer& model, at::ScalarType type, std::int64_t length,
                     std::int64_t head_width) {
  return model.inference().fuses(type, length, length, head_width);
}

at::Tensor Transformer::new_total() const {
  at::Tensor total =
      model::empty({1}, at::TensorOptions().dtype(at::kDouble).device(device_.tensors));
  if (gemm_.computes()) total.zero_();
  return total;
}

double Transformer::read_total(const at::Tensor& total) const {
  return gemm_.computes() ? total.item<double>() : 0;
}

void Transformer::encode(UnitWalk& walk, Stack::Tapes* tapes) const {
  if (encoder_shares_) walk.hold_forward(shared_unit_);
  at::Tensor rows = encoder_->forward(walk, tapes);
  if (walk.computes()) walk.pass().memory = walk.pass().take_memory(std::exchange(rows, {}));
  if (shared_unit_ >= 0 && !encoder_shares_) walk.hold_forward(shared_unit_);
}

at::Tensor Transformer::forward(UnitWalk& walk, Stack::Tapes* encoder_tapes,
                                Stack::Tapes* decoder_tapes) const {
  encode(walk, encoder_tapes);
  return decoder_->forward(walk, decoder_tapes);
}

at::Tensor Transformer::step(UnitWalk& walk, const DecodingRows* rows,
                             std::vector<LayerCache>& caches) const {
  const at::Tensor x = decoder_->step(walk, rows, caches);
  at::Tensor logits;
  walk.forward(output_unit(), [&](const ParameterSpan& p) {
    LayerCache none;
    logits = output_->step(*rows, p, x, none);
  });
  return logits;
}

template <typename Work>
void Transformer::walk_forward(UnitWalk& walk, const Work& output) const {
  const at::Tensor x = forward(walk, nullptr, nullptr);
  walk.forward(output_unit(), [&](const ParameterSpan& p) { output(p, x); });
  walk.release_forward();
}

at::Tensor Transformer::logits(ParameterSource& source, const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = inference(), .copies = copies_.get()};
  UnitWalk walk(source, &pass);
  at::Tensor scores;
  walk_forward(walk, [&](const ParameterSpan& p, const at::Tensor& x) {
    Tape tape;
    scores = output_->forward(pass, p, x, tape);
  });
  return scores;
}

LossSum Transformer::evaluate(ParameterSource& source, const data::Batch& batch) {
  return evaluate_rows(source, batch, nullptr);
}

std::vector<double> Transformer::sentence_losses(ParameterSource& source,
                                                 const data::Batch& batch) {
  ensure(device_.memory == runtime::DeviceMemory::kHost, "sentence_losses: on the host");
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor rows = model::empty({batch.target_tokens}, options);
  auto* loss = rows.data_ptr<double>();
  (void)evaluate_rows(source, batch, loss);
  std::vector<double> sums(static_cast<std::size_t>(batch.sentences), 0.0);
  if (!gemm_.computes()) return sums;
  for (std::size_t b = 0; b < sums.size(); ++b) {
    for (std::int64_t t = 0; t < batch.target_lengths[b]; ++t) sums[b] += *loss++;
  }
  return sums;
}

LossSum Transformer::evaluate_rows(ParameterSource& source, const data::Batch& batch,
                                   double* row_losses) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = inference(), .copies = copies_.get()};
  UnitWalk walk(source, &pass);
  at::Tensor total;
  walk_forward(walk, [&](const ParameterSpan& p, const at::Tensor& x) {
    total = new_total();
    pass.target.loss = total.data_ptr<double>();
    pass.target.row_losses = row_losses;
    output_->add_loss(pass, p, x);
  });
  return {read_total(total), batch.target_tokens};
}

void Transformer::idle(ParameterSource& source, IdlePass pass) const {
  UnitWalk walk(source, nullptr);
  if (pass == IdlePass::kSlot) return walk_slot(walk);
  walk_forward(walk, [](const ParameterSpan&, const at::Tensor&) {});
}

void Transformer::walk_slot(UnitWalk& walk) const {
  Stack::Tapes encoder_tapes, decoder_tapes;
  at::Tensor rows = forward(walk, &encoder_tapes, &decoder_tapes);
  walk.hold_backward();
  at::Tensor g;
  walk.backward(output_unit(), [&](const ParameterSpan& p) {
    g = output_->backward_of_loss(walk.pass(), p, std::move(rows));
  });
  if (walk.computes()) {
    Pass& pass = walk.pass();
    pass.g_memory = model::empty_like(pass.memory);
    if (gemm_.computes()) pass.g_memory.zero_();
  }
  decoder_->backward(walk, std::move(g), decoder_tapes);
  if (!encoder_shares_) walk.release_backward();
  if (walk.computes()) {
    walk.pass().memory = at::Tensor();
    g = walk.pass().spread_memory(std::move(walk.pass().g_memory));
  }
  encoder_->backward(walk, std::move(g), encoder_tapes);
  walk.release_backward();
}

void Transformer::train_slot(ParameterSource& source, const data::Batch& batch,
                             const SlotTarget& target, double* loss) {
  ensure(target.gradient_scale != 0, "Transformer: a gradient scale of 0 gives no gradients");
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch,
            .context = context(target.dropout_key, true),
            .copies = copies_.get(),
            .target = {static_cast<float>(target.label_smoothing),
                       static_cast<float>(target.gradient_scale), loss}};
  UnitWalk walk(source, &pass);
  walk_slot(walk);
}

LossSum Transformer::train_slot(ParameterSource& source, const data::Batch& batch,
                                const SlotTarget& target) {
  c10::InferenceMode no_grad;
  const at::Tensor total = new_total();
  train_slot(source, batch, target, total.data_ptr<double>());
  return {read_total(total), batch.target_tokens};
}

}  // namespace th::model
