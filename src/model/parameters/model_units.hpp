#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/model/parameters/parameter_spec.hpp"

// The parameters of each block: their names and shapes, and where its sublayers find them. Without
// LibTorch, so that th_inspect knows a model's tensors too.
namespace th::model {

/// A sublayer's tensors among those of its unit.
struct ParameterRange {
  std::size_t first = 0, count = 0;
};

/// weight [V, D]; for each side that it serves, where the model has them, learned positions [P, D]
/// and a norm.
struct EmbeddingUnit {
  struct Side {
    ParameterRange positions, norm;
  };
  UnitSpec spec;
  ParameterRange weight;
  Side source, target;
};

/// torch.nn.TransformerEncoderLayer; the last layer's unit has encoder.norm too. Of a gated
/// activation the feed-forward layer has linear3 beside linear1, of QK-norm an attention q_norm and
/// k_norm.
struct EncoderLayerUnit {
  UnitSpec spec;
  ParameterRange attention, feed_forward, norm1, norm2;
  ParameterRange final_norm;  ///< of no tensors but in the last layer
};

/// torch.nn.TransformerDecoderLayer.
struct DecoderLayerUnit {
  UnitSpec spec;
  ParameterRange self_attention, cross_attention, feed_forward, norm1, norm2, norm3;
};

/// decoder.norm and the projection to the vocabulary.
struct OutputUnit {
  UnitSpec spec;
  ParameterRange norm;  ///< of no tensors where the model has no final norm
  ParameterRange bias;
  ParameterRange weight;  ///< of no tensors where it is an embedding's matrix
};

/// The units of a model, numbered in this order.
struct ModelUnits {
  std::vector<EmbeddingUnit> embeddings;  ///< source and target, or one that both share
  std::vector<EncoderLayerUnit> encoder;
  std::vector<DecoderLayerUnit> decoder;
  OutputUnit output;
  std::vector<TensorAlias> aliases;  ///< further names of shared tensors

  /// Whether source and target share one matrix.
  [[nodiscard]] bool shared_embeddings() const noexcept { return embeddings.size() == 1; }
  /// Whether the output's matrix is the target's embeddings.
  [[nodiscard]] bool shared_output() const noexcept { return output.weight.count == 0; }
  /// The unit that several blocks use, and that stays open from the first of them to the last; -1:
  /// none.
  [[nodiscard]] std::int64_t shared_unit() const noexcept {
    return shared_embeddings() || shared_output() ? target_embedding() : -1;
  }
  // Numbers of units.
  [[nodiscard]] std::int64_t source_embedding() const noexcept { return 0; }
  [[nodiscard]] std::int64_t target_embedding() const noexcept {
    return std::ssize(embeddings) - 1;
  }
  [[nodiscard]] std::int64_t encoder_layer(std::int64_t layer) const noexcept {
    return std::ssize(embeddings) + layer;
  }
  [[nodiscard]] std::int64_t decoder_layer(std::int64_t layer) const noexcept {
    return encoder_layer(std::ssize(encoder)) + layer;
  }
  [[nodiscard]] std::int64_t output_unit() const noexcept {
    return decoder_layer(std::ssize(decoder));
  }
  [[nodiscard]] std::vector<UnitSpec> specs() const;
};

/// `positions`: rows of learned positions' tables, where the model has them (learned_positions).
/// Throws InternalError where shared vocabularies differ in size, or there are no such rows.
[[nodiscard]] ModelUnits model_units(const config::ModelSection& model,
                                     std::int64_t source_vocabulary, std::int64_t target_vocabulary,
                                     std::int64_t positions = 0);

}  // namespace th::model
