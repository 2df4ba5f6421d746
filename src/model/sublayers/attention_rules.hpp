#pragma once

#include "th/config/run_config.hpp"
#include "th/runtime/ops/rotation_rule.hpp"
#include "th/runtime/ops/score_rule.hpp"

namespace th::model {

/// The three attentions of an encoder-decoder Transformer (Vaswani et al. 2017, 3.2.3).
enum class AttentionPlace { kEncoder, kDecoder, kCross };

/// What an attention of the deck's model does beside its products.
struct AttentionRules {
  runtime::ScoreRule scores;
  runtime::RotationRule rotation;
};

/// What rules read beside the deck: tables in the kernels' memory, as PositionTables makes them,
/// and the ratio of source to target positions.
struct RuleInputs {
  const float* slopes = nullptr;  ///< ScoreRule::slopes
  const float* angles = nullptr;  ///< RotationRule::angles
  std::int64_t ratio = runtime::ScoreRule::kRatioUnit;
};

/// The deck's rules for one of the attentions: a kind of attention or of position enters here.
/// Cross attention knows no positions but those of its window.
[[nodiscard]] inline AttentionRules attention_rules(const config::ModelSection& model,
                                                    AttentionPlace place,
                                                    const RuleInputs& inputs = {}) {
  using Scores = runtime::ScoreRule;
  using Kind = Scores::Kind;
  using Rotation = runtime::RotationRule::Kind;
  const std::int64_t window = model.attention_window;
  if (place == AttentionPlace::kCross) {
    if (model.cross_attention == config::Attention::kFull) return {};
    return {.scores = {Kind::kLocalCross, window, window, model.cross_downsample, inputs.ratio},
            .rotation = {}};
  }
  AttentionRules rules;
  if (place == AttentionPlace::kEncoder) {
    rules.scores = model.encoder_attention == config::Attention::kFull
                       ? Scores{Kind::kFull}
                       : Scores{Kind::kLocal, window, window};
  } else {
    rules.scores = model.decoder_attention == config::Attention::kFull
                       ? Scores{Kind::kCausal}
                       : Scores{Kind::kLocal, window, 0};
  }
  if (model.position == config::Position::kAlibi) rules.scores.slopes = inputs.slopes;
  if (model.position == config::Position::kRope) {
    rules.rotation = {model.position_layout == config::PositionLayout::kHalves
                          ? Rotation::kHalves
                          : Rotation::kInterleaved,
                      inputs.angles};
  }
  return rules;
}

}  // namespace th::model
