#pragma once

#include "th/model/transformer.hpp"

namespace th::model {

// Dropout blocks: encoder layers from 0, decoder layers from 1000, embeddings apart.
inline constexpr std::uint64_t kDecoderBlock = 1000;
inline constexpr std::uint64_t kEmbeddingBlock = 1000000;

/// One forward (and backward) over one micro-batch: the batch and what the forward pass keeps.
struct Transformer::Pass {
  const data::Batch& batch;
  PassContext context;
  bool keep = false;       ///< training: tapes are kept
  bool recompute = false;  ///< keep layer inputs alone
  std::vector<EncoderTape> encoder;
  std::vector<DecoderTape> decoder;
  LayerNormTape final_norm;
  at::Tensor memory;  ///< the encoder's output [B*S, D]
  at::Tensor tied;    ///< the tied embedding matrix while its unit is open
};

}  // namespace th::model
