// Where the sublayers of each block find their tensors.
#include <gtest/gtest.h>

#include "model/parameters/model_units.hpp"
#include "th/model/parameters/parameter_units.hpp"

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

}  // namespace
}  // namespace th::model
