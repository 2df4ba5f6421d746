#include "model/parameters/model_units.hpp"

#include "th/base/error.hpp"
#include "th/model/parameters/parameter_units.hpp"

#include <cmath>
#include <string>
#include <utility>

namespace th::model {

namespace {

/// Adds the tensors of one sublayer after another to a unit.
class UnitBuilder {
 public:
  UnitBuilder(const config::ModelSection& model, UnitSpec& unit, std::string prefix)
      : model_(model), unit_(unit), prefix_(std::move(prefix)) {}

  /// A table of `rows` rows of width D.
  ParameterRange table(const std::string& name, std::int64_t rows) {
    return add({{name + ".weight", {rows, model_.d_model}}});
  }
  /// Matrices are divided by `divisor` at the start.
  ParameterRange attention(const std::string& name, double divisor) {
    const std::int64_t d = model_.d_model;
    std::vector<TensorSpec> tensors{{name + ".in_proj_weight", {3 * d, d}, true, divisor},
                                    {name + ".in_proj_bias", {3 * d}},
                                    {name + ".out_proj.weight", {d, d}, true, divisor},
                                    {name + ".out_proj.bias", {d}}};
    if (model_.qk_norm) {
      tensors.push_back({name + ".q_norm.weight", {d / model_.num_heads}});
      tensors.push_back({name + ".k_norm.weight", {d / model_.num_heads}});
    }
    return add(std::move(tensors));
  }
  ParameterRange feed_forward(double divisor) {
    const std::int64_t d = model_.d_model, f = model_.d_ff;
    std::vector<TensorSpec> tensors{{"linear1.weight", {f, d}, true, divisor},
                                    {"linear1.bias", {f}},
                                    {"linear2.weight", {d, f}, true, divisor},
                                    {"linear2.bias", {d}}};
    if (model_.activation == config::Activation::kSwiglu) {
      tensors.push_back({"linear3.weight", {f, d}, true, divisor});
      tensors.push_back({"linear3.bias", {f}});
    }
    return add(std::move(tensors));
  }
  ParameterRange norm(const std::string& name) {
    const std::int64_t d = model_.d_model;
    if (model_.norm_kind == config::NormKind::kRms) return add({{name + ".weight", {d}}});
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
  const config::ModelSection& model_;
  UnitSpec& unit_;
  std::string prefix_;
};

/// Rows of the tables of an embedding's unit.
struct EmbeddingRows {
  std::int64_t source, target, positions;
};

std::vector<EmbeddingUnit> embedding_units(const config::ModelSection& model, EmbeddingRows rows) {
  const bool shared = config::joint_vocabulary(model);
  std::vector<EmbeddingUnit> out(shared ? 1 : 2);
  EmbeddingUnit &source = out.front(), &target = out.back();
  const auto unit = [&](EmbeddingUnit& of) { return UnitBuilder(model, of.spec, ""); };
  source.spec.name = shared ? "embeddings" : "source_embedding";
  source.weight = unit(source).table("source_embedding", rows.source);
  if (!shared) {
    target.spec.name = "target_embedding";
    target.weight = unit(target).table("target_embedding", rows.target);
  }
  if (model.position == config::Position::kLearned) {
    source.source.positions = unit(source).table("source_positions", rows.positions);
    target.target.positions = unit(target).table("target_positions", rows.positions);
  }
  if (model.embedding_norm) {
    source.source.norm = unit(source).norm("encoder.layernorm_embedding");
    target.target.norm = unit(target).norm("decoder.layernorm_embedding");
  }
  return out;
}

/// What the initial values of the matrices of layer `layer`, counted from 0, are divided by (Zhang,
/// Titov, Sennrich 2019, with alpha = 1).
double depth_divisor(const config::ModelSection& model, std::int64_t layer) {
  return model.depth_scaled_init ? std::sqrt(static_cast<double>(layer + 1)) : 1;
}

EncoderLayerUnit encoder_layer_unit(const config::ModelSection& model, std::int64_t layer) {
  EncoderLayerUnit out;
  out.spec.name = "encoder.layers." + std::to_string(layer);
  UnitBuilder builder(model, out.spec, out.spec.name + ".");
  out.attention = builder.attention("self_attn", depth_divisor(model, layer));
  out.feed_forward = builder.feed_forward(depth_divisor(model, layer));
  out.norm1 = builder.norm("norm1");
  out.norm2 = builder.norm("norm2");
  if (model.final_norm && layer + 1 == model.num_encoder_layers)
    out.final_norm = UnitBuilder(model, out.spec, "encoder.").norm("norm");
  return out;
}

DecoderLayerUnit decoder_layer_unit(const config::ModelSection& model, std::int64_t layer) {
  DecoderLayerUnit out;
  out.spec.name = "decoder.layers." + std::to_string(layer);
  UnitBuilder builder(model, out.spec, out.spec.name + ".");
  out.self_attention = builder.attention("self_attn", depth_divisor(model, layer));
  out.cross_attention = builder.attention("multihead_attn", depth_divisor(model, layer));
  out.feed_forward = builder.feed_forward(depth_divisor(model, layer));
  out.norm1 = builder.norm("norm1");
  out.norm2 = builder.norm("norm2");
  out.norm3 = builder.norm("norm3");
  return out;
}

OutputUnit output_unit(const config::ModelSection& model, std::int64_t vocabulary) {
  const bool shared = model.tie_embeddings == config::Tying::kDecoder ||
                      model.tie_embeddings == config::Tying::kAll;
  OutputUnit out;
  out.spec.name = "output";
  UnitBuilder builder(model, out.spec, "");
  if (model.final_norm) out.norm = builder.norm("decoder.norm");
  out.bias = builder.add({{"output_projection.bias", {vocabulary}}});
  if (!shared)
    out.weight = builder.add({{"output_projection.weight", {vocabulary, model.d_model}, true}});
  return out;
}

/// The further names of shared matrices.
std::vector<TensorAlias> aliases_of(const ModelUnits& units) {
  const std::string target =
      units.shared_embeddings() ? "source_embedding.weight" : "target_embedding.weight";
  std::vector<TensorAlias> out;
  if (units.shared_embeddings()) out.push_back({"target_embedding.weight", target});
  if (units.shared_output()) out.push_back({"output_projection.weight", target});
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
                       std::int64_t target_vocabulary, std::int64_t positions) {
  ensure(!config::joint_vocabulary(model) || source_vocabulary == target_vocabulary,
         "Transformer: shared embeddings need one joint vocabulary");
  ensure(model.position != config::Position::kLearned || positions > 0,
         "Transformer: learned positions need a number of them");
  ModelUnits out;
  out.embeddings = embedding_units(model, {source_vocabulary, target_vocabulary, positions});
  for (std::int64_t l = 0; l < model.num_encoder_layers; ++l)
    out.encoder.push_back(encoder_layer_unit(model, l));
  for (std::int64_t l = 0; l < model.num_decoder_layers; ++l)
    out.decoder.push_back(decoder_layer_unit(model, l));
  out.output = output_unit(model, target_vocabulary);
  out.aliases = aliases_of(out);
  return out;
}

ParameterUnits parameter_units(const config::ModelSection& model, std::int64_t source_vocabulary,
                               std::int64_t target_vocabulary, std::int64_t positions) {
  const ModelUnits units = model_units(model, source_vocabulary, target_vocabulary, positions);
  return {units.specs(), units.aliases};
}

std::int64_t learned_positions(const config::RunConfig& config) {
  if (config.model.position != config::Position::kLearned) return 0;
  return config.data.synthetic == config::Synthetic::kNone ? config.data.longest_length()
                                                           : config.data.synthetic_length;
}

}  // namespace th::model
