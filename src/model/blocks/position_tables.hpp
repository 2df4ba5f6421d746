#pragma once

#include <ATen/core/Tensor.h>

#include "model/sublayers/attention_rules.hpp"
#include "th/model/blocks/transformer.hpp"

namespace th::model {

/// The tables of positions that a model holds beside its parameters, in the kernels' memory. Each
/// is made once in fp64 and rounded, so that it has the same bits on every rank and device; one
/// that the deck's model does not read is undefined.
struct PositionTables {
  PositionTables() = default;
  PositionTables(const TransformerSpec& spec, at::Device device);

  at::Tensor added;   ///< [max_length, D]: sinusoids, which are added to the embeddings
  at::Tensor angles;  ///< [max_length, K/2, 2]: RotationRule::angles
  at::Tensor slopes;  ///< [H]: ScoreRule::slopes
  std::int64_t ratio = runtime::ScoreRule::kRatioUnit;  ///< ScoreRule::ratio

  [[nodiscard]] RuleInputs inputs() const;
};

/// [length, width/2, 2]: cosine and sine of position * theta^(-2i/width). Scaling by s: linear
/// divides positions by s (Chen et al. 2023); ntk takes theta * s^(width/(width-2)), so that the
/// fastest pair stays and the slowest is s times slower.
[[nodiscard]] at::Tensor rotary_angles(const config::ModelSection& model, std::int64_t length);

/// [heads]: 2^(-8(h+1)/heads) where heads is a power of two; else those of the next power of two
/// m below, then every other one of 2m (Press et al. 2022).
[[nodiscard]] at::Tensor alibi_slopes(std::int64_t heads);

}  // namespace th::model
