// Kinds of attention and of positions against PyTorch's dense attention with masks
// (make_attention.py): logits and every gradient, in one kernel and by products.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <map>
#include <numbers>
#include <string>

#include "small_model.hpp"

namespace th::model {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

constexpr double kTolerance = 1e-5;  // of the largest entry

const json& golden() {
  static const json all = json::parse(std::ifstream(TH_GOLDEN_DIR "/golden_attention.json"));
  return all;
}

/// The value of a choice by its word.
template <typename Enum>
Enum choice(const json& word, const std::map<std::string, Enum>& values) {
  return values.at(word.get<std::string>());
}

config::ModelSection section_of(const json& c) {
  using config::Attention, config::Position, config::PositionLayout, config::RopeScaling;
  const std::map<std::string, Attention> attentions{{"full", Attention::kFull},
                                                    {"local", Attention::kLocal}};
  config::ModelSection m;
  m.d_model = c.at("d_model");
  m.num_heads = c.at("num_heads");
  m.d_ff = c.at("d_ff");
  m.num_encoder_layers = m.num_decoder_layers = 1;
  m.dropout = 0;
  m.position = choice<Position>(c.at("position"), {{"sinusoidal", Position::kSinusoidal},
                                                   {"alibi", Position::kAlibi},
                                                   {"rope", Position::kRope}});
  m.position_layout = choice<PositionLayout>(
      c.at("position_layout"),
      {{"interleaved", PositionLayout::kInterleaved}, {"halves", PositionLayout::kHalves}});
  m.encoder_attention = choice(c.at("encoder_attention"), attentions);
  m.decoder_attention = choice(c.at("decoder_attention"), attentions);
  m.cross_attention = choice(c.at("cross_attention"), attentions);
  m.attention_window = c.at("attention_window");
  m.rope_theta = c.at("rope_theta");
  m.rope_scaling = choice<RopeScaling>(
      c.at("rope_scaling"),
      {{"none", RopeScaling::kNone}, {"linear", RopeScaling::kLinear}, {"ntk", RopeScaling::kNtk}});
  m.rope_scaling_factor = c.at("rope_scaling_factor");
  m.cross_downsample = c.at("cross_downsample");
  return m;
}

Ids words(std::int64_t sentence, std::int64_t length, std::int64_t vocabulary, std::int64_t salt) {
  Ids out;
  for (std::int64_t t = 0; t < length; ++t)
    out.push_back(
        static_cast<std::int32_t>(4 + (sentence * 7 + t * t * 3 + t + salt) % (vocabulary - 4)));
  return out;
}

data::Batch batch_of(const json& all) {
  data::Batch batch;
  for (std::size_t b = 0; b < all.at("source_lengths").size(); ++b) {
    const auto number = static_cast<std::int64_t>(b);
    Ids source = words(number, all.at("source_lengths").at(b).get<std::int64_t>() - 1,
                       all.at("source_vocabulary"), 0);
    Ids target = words(number, all.at("target_lengths").at(b).get<std::int64_t>() - 1,
                       all.at("target_vocabulary"), 5);
    source.push_back(data::kEnd);
    target.insert(target.begin(), data::kBegin);
    target.push_back(data::kEnd);
    batch.append(source, target);
  }
  return batch;
}

/// The formula of make_attention.py: tensors are numbered in the order of their names.
void fill(test::RecordingSource& source, const json& gradients) {
  std::int64_t number = 0;
  for (const auto& [name, unused] : gradients.items()) {
    at::Tensor value = source.value(name);
    const bool norm_weight = name.find("norm") != std::string::npos && name.ends_with("weight");
    for (std::int64_t i = 0; i < value.numel(); ++i) {
      const auto x = static_cast<double>(i);
      const double entry =
          0.25 * std::sin(1.7 * x + 0.9 * x * x / 1009.0 + 0.61 * static_cast<double>(number));
      value.data_ptr<float>()[i] = static_cast<float>(entry + (norm_weight ? 1.0 : 0.0));
    }
    ++number;
  }
}

/// Samples agree to the tolerance, and the product with the fixed vector to that of entries which
/// are off by so much at random.
void expect_near(const at::Tensor& got, const json& want, const std::string& name) {
  const at::Tensor flat = got.reshape({-1}).to(at::kDouble);
  const double* x = flat.data_ptr<double>();
  const double allowed = kTolerance * want.at("largest").get<double>();
  const auto count = flat.numel();
  const auto samples = want.at("samples").get<std::vector<double>>();
  for (std::int64_t i = 0; i < std::ssize(samples); ++i) {
    const std::int64_t at = i * count / std::ssize(samples);
    EXPECT_NEAR(x[at], samples[static_cast<std::size_t>(i)], allowed) << name << " at " << at;
  }
  double probe = 0;
  for (std::int64_t i = 0; i < count; ++i) probe += x[i] * std::sin(0.77 * static_cast<double>(i));
  EXPECT_NEAR(probe, want.at("probe").get<double>(),
              allowed * std::sqrt(static_cast<double>(count)))
      << name;
}

class GoldenAttention : public testing::TestWithParam<std::tuple<std::string, bool>> {};

TEST_P(GoldenAttention, LogitsLossAndEveryGradientAgree) {
  const auto& [name, fused] = GetParam();
  const json& want = golden().at("cases").at(name);
  Transformer model(
      {section_of(want.at("config")), golden().at("source_vocabulary"),
       golden().at("target_vocabulary"), 300, want.at("config").at("source_per_target")},
      GemmLibrary::kOnednn, Arithmetic::kCompute, {.fused_attention = fused});
  test::RecordingSource source(model);
  fill(source, want.at("gradients"));
  const data::Batch batch = batch_of(golden());
  expect_near(model.logits(source, batch), want.at("logits"), "logits");
  const LossSum sum = model.train_slot(
      source, batch, {.gradient_scale = 1.0 / static_cast<double>(batch.target_tokens)});
  EXPECT_NEAR(sum.loss_sum / static_cast<double>(sum.tokens), want.at("loss").get<double>(), 1e-5);
  for (const auto& [tensor, digest] : want.at("gradients").items())
    expect_near(source.gradient(tensor), digest, tensor);
}

std::vector<std::string> cases() {
  std::vector<std::string> out;
  for (const auto& [name, unused] : golden().at("cases").items()) out.push_back(name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(PyTorch, GoldenAttention,
                         testing::Combine(testing::ValuesIn(cases()), testing::Bool()),
                         [](const auto& p) {
                           return std::get<0>(p.param) +
                                  (std::get<1>(p.param) ? "_kernel" : "_products");
                         });

}  // namespace
}  // namespace th::model
