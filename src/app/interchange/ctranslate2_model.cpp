#include "app/interchange/ctranslate2_model.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/model/parameters/parameter_units.hpp"

namespace th::app {
namespace {

using config::ModelSection;
using Type = io::Ctranslate2Variable::Type;
using Shape = std::vector<std::int64_t>;

/// Rows of a table of sinusoids: CTranslate2 refuses longer sentences.
constexpr std::int64_t kPositions = 2048;

/// A line for each option that CTranslate2's specification has not.
std::string unknown_to_ctranslate2(const ModelSection& m) {
  std::string text;
  const auto refuse = [&](bool given, const std::string& option, const std::string& why) {
    if (!given) return;
    text += (text.empty() ? "" : "\n") + option + ": CTranslate2 has no " + why;
  };
  const auto full = config::Attention::kFull;
  refuse(m.encoder_attention != full, "model.encoder_attention = local", "local attention");
  refuse(m.decoder_attention != full, "model.decoder_attention = local", "local attention");
  refuse(m.cross_attention != full, "model.cross_attention = local", "local cross attention");
  refuse(m.cross_downsample > 1, "model.cross_downsample = " + std::to_string(m.cross_downsample),
         "cross attention to every k-th encoder state");
  refuse(m.position == config::Position::kAlibi, "model.position = alibi", "ALiBi in encoders");
  refuse(m.qk_norm, "model.qk_norm = true",
         "norm of each head's queries in cross attention (it norms all heads together)");
  return text;
}

int activation_number(config::Activation activation) {
  switch (activation) {
    case config::Activation::kRelu:
      return 0;
    case config::Activation::kGelu:
      return 3;  // by the error function
    case config::Activation::kSwish:
    case config::Activation::kSwiglu:
      break;
  }
  return 2;
}

class Builder {
 public:
  Builder(const config::RunConfig& config, const io::CheckpointInfo& info, ElementType type)
      : config_(config), model_(config.model), info_(info), type_(type) {}

  Ctranslate2Model build() {
    add_stack("encoder");
    add_stack("decoder");
    flag("encoder/multi_query_attention", false);
    number("encoder/embeddings_merge", Type::kInt8, 0);
    add_decoder_settings();
    add_tables();
    add_positions();
    for (std::int64_t i = 0; i < model_.num_encoder_layers; ++i) add_encoder_layer(i);
    for (std::int64_t i = 0; i < model_.num_decoder_layers; ++i) add_decoder_layer(i);
    const nlohmann::json configuration = {{"add_source_bos", false},
                                          {"add_source_eos", true},
                                          {"bos_token", "<s>"},
                                          {"decoder_start_token", "<s>"},
                                          {"eos_token", "</s>"},
                                          {"layer_norm_epsilon", model_.norm_eps},
                                          {"multi_query_attention", false},
                                          {"unk_token", "<unk>"}};
    out_.configuration = json_text(configuration) + "\n";
    return std::move(out_);
  }

 private:
  void number(const std::string& name, Type type, double value) {
    out_.variables.push_back(io::Ctranslate2Variable::scalar(name, type, value));
  }
  void flag(const std::string& name, bool value) {
    out_.variables.push_back(io::Ctranslate2Variable::flag(name, value));
  }
  /// Rows from `row` of a tensor.
  void array(const std::string& name, const Shape& shape, const std::string& tensor,
             std::int64_t row = 0) {
    std::int64_t width = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) width *= shape[i];
    out_.variables.push_back(io::Ctranslate2Variable::array(name, shape, type_));
    out_.sources[name] = {tensor, row * width, shape[0] * width};
  }
  void linear(const std::string& name, std::int64_t outputs, std::int64_t inputs,
              const std::string& tensor) {
    array(name + "/weight", {outputs, inputs}, tensor + ".weight");
    array(name + "/bias", {outputs}, tensor + ".bias");
  }
  /// Rows of an attention's product of queries, keys and values, whose names have no dot.
  void projection(const std::string& name, std::int64_t outputs, const std::string& tensor,
                  std::int64_t row) {
    array(name + "/weight", {outputs, model_.d_model}, tensor + ".in_proj_weight", row);
    array(name + "/bias", {outputs}, tensor + ".in_proj_bias", row);
  }
  void norm(const std::string& name, const std::string& tensor, std::int64_t width) {
    array(name + "/gamma", {width}, tensor + ".weight");
    if (model_.norm_kind == config::NormKind::kLayer)
      array(name + "/beta", {width}, tensor + ".bias");
  }

  void add_stack(const std::string& side) {
    number(side + "/num_heads", Type::kInt16, static_cast<double>(model_.num_heads));
    flag(side + "/pre_norm", model_.norm == config::Norm::kPre);
    number(side + "/activation", Type::kInt8, activation_number(model_.activation));
    flag(side + "/scale_embeddings", true);
    if (model_.final_norm) norm(side + "/layer_norm", side + ".norm", model_.d_model);
    if (model_.embedding_norm)
      norm(side + "/layernorm_embedding", side + ".layernorm_embedding", model_.d_model);
  }

  void add_decoder_settings() {
    number("decoder/alignment_layer", Type::kInt16, -1);
    number("decoder/alignment_heads", Type::kInt16, 1);
    flag("decoder/alibi", false);
    flag("decoder/alibi_use_positive_positions", false);
    flag("decoder/scale_alibi", false);
    flag("decoder/start_from_zero_embedding", model_.start == config::Start::kZero);
  }

  /// Where a tied matrix stands first in the alphabet, it stands; its other names are aliases.
  void add_tables() {
    const std::int64_t width = model_.d_model, source = std::ssize(info_.source_tokens),
                       target = std::ssize(info_.target_tokens);
    const std::string theirs_source = "encoder/embeddings_0/weight",
                      theirs_target = "decoder/embeddings/weight",
                      theirs_output = "decoder/projection/weight";
    array(theirs_target, {target, width}, "target_embedding.weight");
    const bool shared = config::joint_vocabulary(model_);
    const bool output = model_.tie_embeddings == config::Tying::kDecoder ||
                        model_.tie_embeddings == config::Tying::kAll;
    if (shared)
      out_.aliases[theirs_source] = theirs_target;
    else
      array(theirs_source, {source, width}, "source_embedding.weight");
    if (output)
      out_.aliases[theirs_output] = theirs_target;
    else
      array(theirs_output, {target, width}, "output_projection.weight");
    array("decoder/projection/bias", {target}, "output_projection.bias");
  }

  void add_positions() {
    const std::string encoder = "encoder/position_encodings/encodings",
                      decoder = "decoder/position_encodings/encodings";
    const std::int64_t width = model_.d_model;
    if (model_.position == config::Position::kLearned) {
      const std::int64_t rows = model::learned_positions(config_);
      array(encoder, {rows, width}, "source_positions.weight");
      array(decoder, {rows, width}, "target_positions.weight");
    }
    if (model_.position != config::Position::kSinusoidal) return;
    const std::int64_t rows =
        std::max({kPositions, config_.data.longest_length() + 2, config_.decode.max_length + 2});
    array(decoder, {rows, width}, "");
    out_.aliases[encoder] = decoder;
  }

  void add_rotation(const std::string& name) {
    if (model_.position != config::Position::kRope) return;
    const auto head = static_cast<double>(model_.d_model / model_.num_heads);
    double theta = model_.rope_theta;
    if (model_.rope_scaling == config::RopeScaling::kNtk && head > 2)
      theta *= std::pow(model_.rope_scaling_factor, head / (head - 2));
    number(name + "/rotary_dim", Type::kInt32, head);
    flag(name + "/rotary_interleave",
         model_.position_layout == config::PositionLayout::kInterleaved);
    number(name + "/rotary_base", Type::kFloat32, theta);
    if (model_.rope_scaling != config::RopeScaling::kLinear) return;
    number(name + "/rotary_scaling_type", Type::kInt8, 0);
    number(name + "/rotary_scaling_factor", Type::kFloat32, model_.rope_scaling_factor);
  }

  void add_self_attention(const std::string& theirs, const std::string& ours) {
    const std::string name = theirs + "/self_attention", tensor = ours + "self_attn";
    projection(name + "/linear_0", 3 * model_.d_model, tensor, 0);
    linear(name + "/linear_1", model_.d_model, model_.d_model, tensor + ".out_proj");
    norm(name + "/layer_norm", ours + "norm1", model_.d_model);
    add_rotation(name);
  }

  void add_feed_forward(const std::string& theirs, const std::string& ours,
                        const std::string& its_norm) {
    const std::string name = theirs + "/ffn";
    norm(name + "/layer_norm", ours + its_norm, model_.d_model);
    linear(name + "/linear_0", model_.d_ff, model_.d_model, ours + "linear1");
    linear(name + "/linear_1", model_.d_model, model_.d_ff, ours + "linear2");
    if (model_.activation == config::Activation::kSwiglu)
      linear(name + "/linear_0_noact", model_.d_ff, model_.d_model, ours + "linear3");
  }

  void add_encoder_layer(std::int64_t layer) {
    const std::string theirs = "encoder/layer_" + std::to_string(layer),
                      ours = "encoder.layers." + std::to_string(layer) + ".";
    add_self_attention(theirs, ours);
    add_feed_forward(theirs, ours, "norm2");
  }

  void add_decoder_layer(std::int64_t layer) {
    const std::string theirs = "decoder/layer_" + std::to_string(layer),
                      ours = "decoder.layers." + std::to_string(layer) + ".";
    add_self_attention(theirs, ours);
    const std::string name = theirs + "/attention", tensor = ours + "multihead_attn";
    const std::int64_t width = model_.d_model;
    projection(name + "/linear_0", width, tensor, 0);
    projection(name + "/linear_1", 2 * width, tensor, width);
    linear(name + "/linear_2", width, width, tensor + ".out_proj");
    norm(name + "/layer_norm", ours + "norm2", width);
    add_feed_forward(theirs, ours, "norm3");
  }

  const config::RunConfig& config_;
  const ModelSection& model_;
  const io::CheckpointInfo& info_;
  ElementType type_;
  Ctranslate2Model out_;
};

}  // namespace

Ctranslate2Model ctranslate2_model(const config::RunConfig& config, const io::CheckpointInfo& info,
                                   ElementType type) {
  if (const std::string refused = unknown_to_ctranslate2(config.model); !refused.empty())
    throw DeckError("the model can't be exported for CTranslate2: " + refused);
  return Builder(config, info, type).build();
}

}  // namespace th::app
