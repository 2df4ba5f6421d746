#include "model/parameters/model_units.hpp"

#include "th/base/error.hpp"
#include "th/model/parameters/parameter_units.hpp"

#include <string>
#include <utility>

namespace th::model {

namespace {

/// Adds the tensors of one sublayer after another to a unit.
class UnitBuilder {
 public:
  UnitBuilder(UnitSpec& unit, std::string prefix) : unit_(unit), prefix_(std::move(prefix)) {}

  ParameterRange embedding(const std::string& name, std::int64_t vocabulary, std::int64_t d) {
    return add({{name + ".weight", {vocabulary, d}}});
  }
  ParameterRange attention(const std::string& name, std::int64_t d) {
    return add({{name + ".in_proj_weight", {3 * d, d}, true},
                {name + ".in_proj_bias", {3 * d}},
                {name + ".out_proj.weight", {d, d}, true},
                {name + ".out_proj.bias", {d}}});
  }
  ParameterRange feed_forward(std::int64_t d, std::int64_t f) {
    return add({{"linear1.weight", {f, d}, true},
                {"linear1.bias", {f}},
                {"linear2.weight", {d, f}, true},
                {"linear2.bias", {d}}});
  }
  ParameterRange norm(const std::string& name, std::int64_t d) {
    return add({{name + ".weight", {d}}, {name + ".bias", {d}}});
  }
  /// Tensors that are named below `prefix_`.
  ParameterRange add(std::vector<TensorSpec> tensors) {
    const ParameterRange range{unit_.tensors.size(), tensors.size()};
    for (TensorSpec& tensor : tensors) {
      tensor.name = prefix_ + tensor.name;
      unit_.tensors.push_back(std::move(tensor));
    }
    return range;
  }

 private:
  UnitSpec& unit_;
  std::string prefix_;
};

std::vector<EmbeddingUnit> embedding_units(std::int64_t d, std::int64_t source, std::int64_t target,
                                           bool shared) {
  std::vector<EmbeddingUnit> out(shared ? 1 : 2);
  out[0].spec.name = shared ? "embeddings" : "source_embedding";
  out[0].weight = UnitBuilder(out[0].spec, "").embedding("source_embedding", source, d);
  if (shared) return out;
  out[1].spec.name = "target_embedding";
  out[1].weight = UnitBuilder(out[1].spec, "").embedding("target_embedding", target, d);
  return out;
}

EncoderLayerUnit encoder_layer_unit(const config::ModelSection& model, std::int64_t layer) {
  EncoderLayerUnit out;
  out.spec.name = "encoder.layers." + std::to_string(layer);
  UnitBuilder builder(out.spec, out.spec.name + ".");
  out.attention = builder.attention("self_attn", model.d_model);
  out.feed_forward = builder.feed_forward(model.d_model, model.d_ff);
  out.norm1 = builder.norm("norm1", model.d_model);
  out.norm2 = builder.norm("norm2", model.d_model);
  if (layer + 1 == model.num_encoder_layers)
    out.final_norm = UnitBuilder(out.spec, "encoder.").norm("norm", model.d_model);
  return out;
}

DecoderLayerUnit decoder_layer_unit(const config::ModelSection& model, std::int64_t layer) {
  DecoderLayerUnit out;
  out.spec.name = "decoder.layers." + std::to_string(layer);
  UnitBuilder builder(out.spec, out.spec.name + ".");
  out.self_attention = builder.attention("self_attn", model.d_model);
  out.cross_attention = builder.attention("multihead_attn", model.d_model);
  out.feed_forward = builder.feed_forward(model.d_model, model.d_ff);
  out.norm1 = builder.norm("norm1", model.d_model);
  out.norm2 = builder.norm("norm2", model.d_model);
  out.norm3 = builder.norm("norm3", model.d_model);
  return out;
}

OutputUnit output_unit(std::int64_t d, std::int64_t vocabulary, bool shared) {
  OutputUnit out;
  out.spec.name = "output";
  UnitBuilder builder(out.spec, "");
  out.norm = builder.norm("decoder.norm", d);
  out.bias = builder.add({{"output_projection.bias", {vocabulary}}});
  if (!shared) out.weight = builder.add({{"output_projection.weight", {vocabulary, d}, true}});
  return out;
}

}  // namespace

std::vector<UnitSpec> ModelUnits::specs() const {
  std::vector<UnitSpec> out;
  for (const EmbeddingUnit& unit : embeddings) out.push_back(unit.spec);
  for (const EncoderLayerUnit& unit : encoder) out.push_back(unit.spec);
  for (const DecoderLayerUnit& unit : decoder) out.push_back(unit.spec);
  out.push_back(output.spec);
  return out;
}

ModelUnits model_units(const config::ModelSection& model, std::int64_t source_vocabulary,
                       std::int64_t target_vocabulary) {
  const bool shared = model.tie_embeddings == config::Tying::kAll;
  ensure(!shared || source_vocabulary == target_vocabulary,
         "Transformer: tied embeddings need one joint vocabulary");
  ModelUnits out;
  out.embeddings = embedding_units(model.d_model, source_vocabulary, target_vocabulary, shared);
  for (std::int64_t l = 0; l < model.num_encoder_layers; ++l)
    out.encoder.push_back(encoder_layer_unit(model, l));
  for (std::int64_t l = 0; l < model.num_decoder_layers; ++l)
    out.decoder.push_back(decoder_layer_unit(model, l));
  out.output = output_unit(model.d_model, target_vocabulary, shared);
  if (shared) {
    out.aliases = {{"target_embedding.weight", "source_embedding.weight"},
                   {"output_projection.weight", "source_embedding.weight"}};
  }
  return out;
}

ParameterUnits parameter_units(const config::ModelSection& model, std::int64_t source_vocabulary,
                               std::int64_t target_vocabulary) {
  const ModelUnits units = model_units(model, source_vocabulary, target_vocabulary);
  return {units.specs(), units.aliases};
}

}  // namespace th::model
