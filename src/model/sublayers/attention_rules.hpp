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

/// The deck's rules for one of the attentions: a kind of attention or of position enters here.
[[nodiscard]] inline AttentionRules attention_rules(const config::ModelSection& /*model*/,
                                                    AttentionPlace place) {
  using Kind = runtime::ScoreRule::Kind;
  return {.scores = {place == AttentionPlace::kDecoder ? Kind::kCausal : Kind::kFull},
          .rotation = {}};
}

}  // namespace th::model
