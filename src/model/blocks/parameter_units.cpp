#include "th/model/blocks/parameter_units.hpp"

#include <string>

#include "th/base/error.hpp"

namespace th::model {

namespace {

using Specs = std::vector<TensorSpec>;

void add_attention(Specs& out, const std::string& prefix, std::int64_t d) {
  out.push_back({prefix + "in_proj_weight", {3 * d, d}, true});
  out.push_back({prefix + "in_proj_bias", {3 * d}});
  out.push_back({prefix + "out_proj.weight", {d, d}, true});
  out.push_back({prefix + "out_proj.bias", {d}});
}

void add_norm(Specs& out, const std::string& prefix, std::int64_t d) {
  out.push_back({prefix + ".weight", {d}});
  out.push_back({prefix + ".bias", {d}});
}

void add_feed_forward(Specs& out, const std::string& prefix, std::int64_t d, std::int64_t f) {
  out.push_back({prefix + "linear1.weight", {f, d}, true});
  out.push_back({prefix + "linear1.bias", {f}});
  out.push_back({prefix + "linear2.weight", {d, f}, true});
  out.push_back({prefix + "linear2.bias", {d}});
}

}  // namespace

ParameterUnits parameter_units(const config::ModelSection& model, std::int64_t source_vocabulary,
                               std::int64_t target_vocabulary) {
  ParameterUnits out;
  const std::int64_t d = model.d_model;
  const bool tied = model.tie_embeddings;
  if (tied) {
    ensure(source_vocabulary == target_vocabulary,
           "Transformer: tied embeddings need one joint vocabulary");
    out.units.push_back({"embeddings", {{"source_embedding.weight", {source_vocabulary, d}}}});
    out.aliases = {{"target_embedding.weight", "source_embedding.weight"},
                   {"output_projection.weight", "source_embedding.weight"}};
  } else {
    out.units.push_back(
        {"source_embedding", {{"source_embedding.weight", {source_vocabulary, d}}}});
    out.units.push_back(
        {"target_embedding", {{"target_embedding.weight", {target_vocabulary, d}}}});
  }
  for (std::int64_t l = 0; l < model.num_encoder_layers; ++l) {
    const std::string prefix = "encoder.layers." + std::to_string(l) + ".";
    Specs specs;
    add_attention(specs, prefix + "self_attn.", d);
    add_feed_forward(specs, prefix, d, model.d_ff);
    add_norm(specs, prefix + "norm1", d);
    add_norm(specs, prefix + "norm2", d);
    if (l + 1 == model.num_encoder_layers) add_norm(specs, "encoder.norm", d);
    out.units.push_back({"encoder.layers." + std::to_string(l), std::move(specs)});
  }
  for (std::int64_t l = 0; l < model.num_decoder_layers; ++l) {
    const std::string prefix = "decoder.layers." + std::to_string(l) + ".";
    Specs specs;
    add_attention(specs, prefix + "self_attn.", d);
    add_attention(specs, prefix + "multihead_attn.", d);
    add_feed_forward(specs, prefix, d, model.d_ff);
    add_norm(specs, prefix + "norm1", d);
    add_norm(specs, prefix + "norm2", d);
    add_norm(specs, prefix + "norm3", d);
    out.units.push_back({"decoder.layers." + std::to_string(l), std::move(specs)});
  }
  Specs output;
  add_norm(output, "decoder.norm", d);
  output.push_back({"output_projection.bias", {target_vocabulary}});
  if (!tied) output.push_back({"output_projection.weight", {target_vocabulary, d}, true});
  out.units.push_back({"output", std::move(output)});
  return out;
}

}  // namespace th::model
