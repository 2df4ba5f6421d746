#include "model/blocks/position_tables.hpp"

#include "model/blocks/embedding.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace th::model {

namespace {

using config::Position;

/// The ratio as the rule has it; any that a corpus can have is above 0.
std::int64_t ratio_of(double source_per_target) {
  constexpr auto kUnit = static_cast<double>(runtime::ScoreRule::kRatioUnit);
  return std::max<std::int64_t>(1, std::llround(source_per_target * kUnit));
}

}  // namespace

at::Tensor rotary_angles(const config::ModelSection& model, std::int64_t length) {
  const std::int64_t width = model.d_model / model.num_heads, half = width / 2;
  const auto k = static_cast<double>(width);
  const bool linear = model.rope_scaling == config::RopeScaling::kLinear;
  double theta = model.rope_theta;
  if (model.rope_scaling == config::RopeScaling::kNtk && width > 2)
    theta *= std::pow(model.rope_scaling_factor, k / (k - 2));
  at::Tensor table = model::empty({length, half, 2}, at::TensorOptions().dtype(at::kFloat));
  float* p = table.data_ptr<float>();
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / k) /
                             (linear ? model.rope_scaling_factor : 1.0);
    for (std::int64_t t = 0; t < length; ++t) {
      const double angle = static_cast<double>(t) * frequency;
      p[(t * half + i) * 2] = static_cast<float>(std::cos(angle));
      p[(t * half + i) * 2 + 1] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

at::Tensor alibi_slopes(std::int64_t heads) {
  const auto whole = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
  at::Tensor table = model::empty({heads}, at::TensorOptions().dtype(at::kFloat));
  const auto slope = [](std::int64_t number, std::int64_t count) {
    return static_cast<float>(
        std::exp2(-8.0 * static_cast<double>(number) / static_cast<double>(count)));
  };
  for (std::int64_t h = 0; h < heads; ++h) {
    table.data_ptr<float>()[h] =
        h < whole ? slope(h + 1, whole) : slope(2 * (h - whole) + 1, 2 * whole);
  }
  return table;
}

PositionTables::PositionTables(const TransformerSpec& spec, at::Device device)
    : ratio(ratio_of(spec.source_per_target)) {
  const config::ModelSection& model = spec.model;
  if (model.position == Position::kSinusoidal)
    added = sinusoidal_positions(model, spec.max_length).to(device);
  if (model.position == Position::kRope) angles = rotary_angles(model, spec.max_length).to(device);
  if (model.position == Position::kAlibi) slopes = alibi_slopes(model.num_heads).to(device);
}

std::int64_t table_bytes(const config::ModelSection& model, std::int64_t longest) {
  constexpr std::int64_t kFloat = 4;
  if (model.position == Position::kLearned) return 0;
  if (model.position == Position::kRope)
    return longest * (model.d_model / model.num_heads / 2 * 2) * kFloat;
  if (model.position == Position::kAlibi) return model.num_heads * kFloat;
  return longest * model.d_model * kFloat;
}

AttentionCuts attention_cuts(const TransformerSpec& spec) {
  const RuleInputs inputs{.ratio = ratio_of(spec.source_per_target)};
  const auto rule = [&](AttentionPlace place) {
    return attention_rules(spec.model, place, inputs).scores;
  };
  return {.encoder = rule(AttentionPlace::kEncoder),
          .decoder = rule(AttentionPlace::kDecoder),
          .cross = rule(AttentionPlace::kCross),
          .memory_step = spec.model.cross_downsample};
}

PassSizes sentence_sizes(const AttentionCuts& cuts, std::int64_t source, std::int64_t target) {
  const std::int64_t memory = (source + cuts.memory_step - 1) / cuts.memory_step;
  const auto scores = [](const runtime::ScoreRule& rule, std::int64_t queries, std::int64_t keys) {
    if (!rule.local()) return static_cast<double>(queries) * static_cast<double>(keys);
    std::int64_t seen = 0;
    for (std::int64_t t = 0; t < queries; ++t) {
      const runtime::PositionRange range = rule.keys(t, keys);
      seen += range.end - range.begin;
    }
    return static_cast<double>(seen);
  };
  return {.source_rows = static_cast<double>(source),
          .target_rows = static_cast<double>(target),
          .memory_rows = static_cast<double>(memory),
          .encoder_scores = scores(cuts.encoder, source, source),
          .decoder_scores = scores(cuts.decoder, target, target),
          .cross_scores = scores(cuts.cross, target, memory)};
}

RuleInputs PositionTables::inputs() const {
  return {.slopes = slopes.defined() ? fp32(slopes) : nullptr,
          .angles = angles.defined() ? fp32(angles) : nullptr,
          .ratio = ratio};
}

}  // namespace th::model
