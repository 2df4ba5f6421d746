#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "th/data/batch.hpp"

namespace th::model {

/// Consecutive sentences whose attention is one batched product: B of them, padded to T queries and
/// S keys.
struct AttentionGroup {
  std::int64_t first = 0, sentences = 0, queries = 0, keys = 0;
};

/// Where the rows of a packed batch's sentences lie: sentence b has the rows [offsets[b],
/// offsets[b+1]), so that linear layers compute no padding. Attention alone pads, group by group
/// (data::sentence_groups).
class PackedRows {
 public:
  /// What becomes of the places: made, made room for (a plan), or left to write_places.
  enum class Places { kMade, kShapesOnly, kLeftOut };
  PackedRows(const data::Batch& batch, Places places);

  /// B+1 entries.
  [[nodiscard]] std::span<const std::int64_t> source_offsets() const noexcept {
    return source_offsets_;
  }
  [[nodiscard]] std::span<const std::int64_t> target_offsets() const noexcept {
    return target_offsets_;
  }
  /// Each row's position within its sentence, int32 [M]; undefined where they are left out.
  [[nodiscard]] const at::Tensor& source_places() const noexcept { return source_places_; }
  [[nodiscard]] const at::Tensor& target_places() const noexcept { return target_places_; }
  /// Groups of the encoder's self attention, the decoder's, and of the decoder's over the encoder's
  /// result.
  [[nodiscard]] std::span<const AttentionGroup> source_groups() const noexcept {
    return source_groups_;
  }
  [[nodiscard]] std::span<const AttentionGroup> target_groups() const noexcept {
    return target_groups_;
  }
  [[nodiscard]] std::span<const AttentionGroup> cross_groups() const noexcept {
    return cross_groups_;
  }

 private:
  std::vector<std::int64_t> source_offsets_, target_offsets_;
  at::Tensor source_places_, target_places_;
  std::vector<AttentionGroup> source_groups_, target_groups_, cross_groups_;
};

/// The places of sentences of these lengths, one behind the other.
void write_places(std::span<const std::int32_t> lengths, std::int32_t* to);

}  // namespace th::model
