#pragma once

#include "th/model/blocks/transformer.hpp"
#include "th/model/memory/batch_copies.hpp"

namespace th::model {

// Dropout blocks: encoder layers from 0, decoder layers from 1000, embeddings apart.
inline constexpr std::uint64_t kDecoderBlock = 1000;
inline constexpr std::uint64_t kEmbeddingBlock = 1000000;

// Where the blocks of a layer begin among its unit's tensors (Transformer::build_units).
inline constexpr std::size_t kAttention = 4, kFeedForward = 4, kNorm = 2;
inline constexpr std::size_t kEncoderFeedForward = kAttention,
                             kEncoderNorm1 = kEncoderFeedForward + kFeedForward,
                             kEncoderNorm2 = kEncoderNorm1 + kNorm,
                             kEncoderFinalNorm = kEncoderNorm2 + kNorm;
inline constexpr std::size_t kCross = kAttention, kDecoderFeedForward = 2 * kAttention,
                             kDecoderNorm1 = kDecoderFeedForward + kFeedForward,
                             kDecoderNorm2 = kDecoderNorm1 + kNorm,
                             kDecoderNorm3 = kDecoderNorm2 + kNorm;

/// One forward (and backward) over one micro-batch: the batch and what the forward pass keeps.
struct Transformer::Pass {
  const data::Batch& batch;
  PassContext context;
  bool keep = false;  ///< training: tapes are kept
  bool recompute =
      false;  ///< full and sqrt checkpointing: keep inputs of layers (of segments) alone
  BatchCopies* copies =
      nullptr;  ///< to a device with memory of its own, where anything is computed
  PackedRows rows{batch, places()};
  BatchArrays arrays = context.memory == ComputeDevice::Memory::kHost ? host_arrays(batch, rows)
                       : copies != nullptr                            ? copies->take(batch, rows)
                                                                      : BatchArrays();
  std::vector<EncoderTape> encoder{};
  std::vector<DecoderTape> decoder{};
  LayerNormTape final_norm{};
  at::Tensor memory{};  ///< the encoder's output [source rows, D]
  at::Tensor tied{};    ///< the tied embedding matrix while its unit is open

  [[nodiscard]] AttentionSite encoder_site(Dropout dropout) const {
    return {rows.source_groups(),
            arrays.source_offsets,
            arrays.source_offsets,
            batch.source_tokens,
            batch.source_tokens,
            arrays.source_lengths,
            {},
            dropout};
  }
  [[nodiscard]] AttentionSite decoder_site(Dropout dropout) const {
    return {rows.target_groups(),
            arrays.target_offsets,
            arrays.target_offsets,
            batch.target_tokens,
            batch.target_tokens,
            nullptr,
            {runtime::ScoreRule::Kind::kCausal},
            dropout};
  }
  [[nodiscard]] AttentionSite cross_site(Dropout dropout) const {
    return {rows.cross_groups(),
            arrays.target_offsets,
            arrays.source_offsets,
            batch.target_tokens,
            batch.source_tokens,
            arrays.source_lengths,
            {},
            dropout};
  }
  [[nodiscard]] PackedRows::Places places() const {
    if (context.memory == ComputeDevice::Memory::kOwn) return PackedRows::Places::kLeftOut;
    return context.gemm->computes() ? PackedRows::Places::kMade : PackedRows::Places::kShapesOnly;
  }
};

template <typename Restore, typename Layer>
void Transformer::backward_layers(std::int64_t layers, Restore restore, Layer layer) const {
  const std::int64_t segment = segment_length(layers);
  for (std::int64_t l = layers - 1; l >= 0; --l) {
    const bool enters_segment = l + 1 == layers || (l + 1) % segment == 0;
    for (std::int64_t k = l / segment * segment; enters_segment && k < l; ++k) restore(k);
    layer(l);
  }
}

}  // namespace th::model
