// Where the sublayers of each block find their tensors.
#include <gtest/gtest.h>

#include "model/parameters/model_units.hpp"
#include "th/model/parameters/parameter_units.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace th::model {
namespace {

using Names = std::vector<std::string>;

config::ModelSection section(bool tied) {
  config::ModelSection m;
  m.d_model = 8;
  m.num_heads = 2;
  m.d_ff = 16;
  m.num_encoder_layers = 2;
  m.num_decoder_layers = 1;
  m.tie_embeddings = tied ? config::Tying::kAll : config::Tying::kNone;
  return m;
}

/// Names of a range's tensors behind `prefix`.
Names names_of(const UnitSpec& unit, ParameterRange range, const std::string& prefix) {
  Names out;
  for (std::size_t i = range.first; i < range.first + range.count; ++i) {
    EXPECT_TRUE(unit.tensors[i].name.starts_with(prefix)) << unit.tensors[i].name;
    out.push_back(unit.tensors[i].name.substr(prefix.size()));
  }
  return out;
}

const Names kAttention{"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"},
    kFeedForward{"1.weight", "1.bias", "2.weight", "2.bias"}, kNorm{"weight", "bias"};

TEST(ModelUnits, RangesOfAnEncoderLayerNameTheTensorsOfTorchNnTransformer) {
  const ModelUnits units = model_units(section(false), 30, 40);
  for (std::size_t l = 0; l < 2; ++l) {
    const EncoderLayerUnit& u = units.encoder[l];
    const std::string prefix = "encoder.layers." + std::to_string(l) + ".";
    EXPECT_EQ(names_of(u.spec, u.attention, prefix + "self_attn."), kAttention);
    EXPECT_EQ(names_of(u.spec, u.feed_forward, prefix + "linear"), kFeedForward);
    EXPECT_EQ(names_of(u.spec, u.norm1, prefix + "norm1."), kNorm);
    EXPECT_EQ(names_of(u.spec, u.norm2, prefix + "norm2."), kNorm);
    EXPECT_EQ(names_of(u.spec, u.final_norm, "encoder.norm."), l == 1 ? kNorm : Names());
    EXPECT_EQ(u.spec.tensors.size(), l == 1 ? 14U : 12U);
  }
}

TEST(ModelUnits, RangesOfADecoderLayerNameTheTensorsOfTorchNnTransformer) {
  const DecoderLayerUnit u = model_units(section(false), 30, 40).decoder[0];
  const std::string prefix = "decoder.layers.0.";
  EXPECT_EQ(names_of(u.spec, u.self_attention, prefix + "self_attn."), kAttention);
  EXPECT_EQ(names_of(u.spec, u.cross_attention, prefix + "multihead_attn."), kAttention);
  EXPECT_EQ(names_of(u.spec, u.feed_forward, prefix + "linear"), kFeedForward);
  EXPECT_EQ(names_of(u.spec, u.norm1, prefix + "norm1."), kNorm);
  EXPECT_EQ(names_of(u.spec, u.norm2, prefix + "norm2."), kNorm);
  EXPECT_EQ(names_of(u.spec, u.norm3, prefix + "norm3."), kNorm);
  EXPECT_EQ(u.spec.tensors.size(), 18U);
}

TEST(ModelUnits, NumbersOfUnitsAreTheirPlacesInTheList) {
  for (const bool tied : {false, true}) {
    const ModelUnits units = model_units(section(tied), 30, 30);
    const std::vector<UnitSpec> specs = units.specs();
    const auto name = [&](std::int64_t unit) { return specs[static_cast<std::size_t>(unit)].name; };
    EXPECT_EQ(units.shared_embeddings(), tied);
    EXPECT_EQ(name(units.source_embedding()), tied ? "embeddings" : "source_embedding");
    EXPECT_EQ(name(units.target_embedding()), tied ? "embeddings" : "target_embedding");
    EXPECT_EQ(name(units.encoder_layer(1)), "encoder.layers.1");
    EXPECT_EQ(name(units.decoder_layer(0)), "decoder.layers.0");
    EXPECT_EQ(name(units.output_unit()), "output");
    EXPECT_EQ(units.output.weight.count, tied ? 0U : 1U);
    EXPECT_EQ(std::ssize(specs), units.output_unit() + 1);
  }
}

/// Names and shapes of all tensors, a line each.
std::string tensors_of(const UnitSpec& unit) {
  std::string text;
  for (const TensorSpec& tensor : unit.tensors) {
    text += tensor.name;
    for (const std::int64_t extent : tensor.shape) text.append(" ").append(std::to_string(extent));
    text += "\n";
  }
  return text;
}

std::vector<std::string> alias_names(const ModelUnits& units) {
  std::vector<std::string> names;
  for (const TensorAlias& a : units.aliases) names.push_back(a.alias + " " + a.tensor);
  return names;
}

TEST(ModelUnits, TyingSharesUnitsAndNamesTheSharedMatrixTwice) {
  config::ModelSection m = section(false);
  m.tie_embeddings = config::Tying::kDecoder;
  ModelUnits units = model_units(m, 30, 40);
  EXPECT_EQ(units.embeddings.size(), 2U);
  EXPECT_EQ(units.shared_unit(), 1);
  EXPECT_TRUE(units.shared_output());
  EXPECT_EQ(alias_names(units), Names{"output_projection.weight target_embedding.weight"});
  EXPECT_EQ(tensors_of(units.output.spec),
            "decoder.norm.weight 8\ndecoder.norm.bias 8\noutput_projection.bias 40\n");
  m.tie_embeddings = config::Tying::kEmbeddings;
  units = model_units(m, 30, 30);
  EXPECT_EQ(units.embeddings.size(), 1U);
  EXPECT_EQ(units.shared_unit(), 0);
  EXPECT_FALSE(units.shared_output());
  EXPECT_EQ(alias_names(units), Names{"target_embedding.weight source_embedding.weight"});
  EXPECT_EQ(model_units(section(false), 30, 30).shared_unit(), -1);
  EXPECT_EQ(alias_names(model_units(section(true), 30, 30)),
            (Names{"target_embedding.weight source_embedding.weight",
                   "output_projection.weight source_embedding.weight"}));
}

TEST(ModelUnits, OptionsAddTensorsBehindThoseOfTheirSublayer) {
  config::ModelSection m = section(true);
  m.norm_kind = config::NormKind::kRms;
  m.final_norm = false;
  m.embedding_norm = m.qk_norm = true;
  m.activation = config::Activation::kSwiglu;
  m.position = config::Position::kLearned;
  const ModelUnits units = model_units(m, 30, 30, 50);
  EXPECT_EQ(tensors_of(units.embeddings[0].spec),
            "source_embedding.weight 30 8\nsource_positions.weight 50 8\n"
            "target_positions.weight 50 8\nencoder.layernorm_embedding.weight 8\n"
            "decoder.layernorm_embedding.weight 8\n");
  const std::string layer = "encoder.layers.1.";
  EXPECT_EQ(tensors_of(units.encoder[1].spec),
            layer + "self_attn.in_proj_weight 24 8\n" + layer + "self_attn.in_proj_bias 24\n" +
                layer + "self_attn.out_proj.weight 8 8\n" + layer + "self_attn.out_proj.bias 8\n" +
                layer + "self_attn.q_norm.weight 4\n" + layer + "self_attn.k_norm.weight 4\n" +
                layer + "linear1.weight 16 8\n" + layer + "linear1.bias 16\n" + layer +
                "linear2.weight 8 16\n" + layer + "linear2.bias 8\n" + layer +
                "linear3.weight 16 8\n" + layer + "linear3.bias 16\n" + layer + "norm1.weight 8\n" +
                layer + "norm2.weight 8\n");
  EXPECT_EQ(tensors_of(units.output.spec), "output_projection.bias 30\n");
}

TEST(ModelUnits, DepthScalingDividesTheMatricesOfALayerByTheRootOfItsNumber) {
  config::ModelSection m = section(false);
  for (const bool scaled : {false, true}) {
    m.depth_scaled_init = scaled;
    const ModelUnits units = model_units(m, 30, 30);
    for (std::size_t l = 0; l < 2; ++l) {
      for (const TensorSpec& tensor : units.encoder[l].spec.tensors) {
        const bool second = scaled && l == 1 && tensor.shape.size() == 2;
        EXPECT_DOUBLE_EQ(tensor.initial_divisor, second ? std::sqrt(2.0) : 1.0) << tensor.name;
      }
    }
    for (const TensorSpec& tensor : units.output.spec.tensors)
      EXPECT_EQ(tensor.initial_divisor, 1.0);
  }
}

TEST(ModelUnits, LearnedPositionsHaveTheLengthOfTheData) {
  config::RunConfig c;
  c.data.max_length = 77;
  EXPECT_EQ(learned_positions(c), 0);
  c.model.position = config::Position::kLearned;
  EXPECT_EQ(learned_positions(c), 77);
  c.data.synthetic = config::Synthetic::kRandomIds;
  c.data.synthetic_length = 12;
  EXPECT_EQ(learned_positions(c), 12);
}

}  // namespace
}  // namespace th::model
