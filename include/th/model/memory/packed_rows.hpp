#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "th/data/batch.hpp"
#include "th/runtime/memory/planned_vector.hpp"
#include "th/runtime/ops/operands.hpp"

namespace th::model {

/// Consecutive sentences whose attention is one batched product: B of them, padded to T queries and
/// S keys.
struct AttentionGroup {
  std::int64_t first = 0, sentences = 0, queries = 0, keys = 0;
};

/// How a model's attentions cut sentences: which keys a query sees, and that cross attention sees
/// every memory_step-th encoder state.
struct AttentionCuts {
  runtime::ScoreRule encoder{}, decoder{}, cross{};
  std::int64_t memory_step = 1;
};

/// Blocks of queries with the keys that they see, of all sentences under a local rule. Products
/// compute these in place of whole matrices of scores, so that work and memory are linear in a
/// sentence's length. A block's size depends on the rule alone, the groups' products on the blocks'
/// own sizes, and within a group no two blocks have a key in common. A key of several blocks gets
/// their gradients in the order of the groups, which its sentence alone decides.
struct AttentionBlocks {
  runtime::PlannedVector<op::RowSpan> queries, keys;  ///< of each block
  std::vector<AttentionGroup> groups;  ///< of blocks; empty where the rule is not local
};
/// `planned`: a plan on this thread counts the memory.
[[nodiscard]] AttentionBlocks attention_blocks(const runtime::ScoreRule& rule,
                                               std::span<const std::int64_t> query_offsets,
                                               std::span<const std::int64_t> key_offsets,
                                               bool planned = false);

/// The rows of a packed batch's sentences: sentence b has the rows [offsets[b], offsets[b+1]), so
/// linear layers compute no padding. Only attention pads, group by group (data::sentence_groups).
class PackedRows {
 public:
  /// Whether the positions are made, only given room (for a plan), or left to write_places.
  enum class Places { kMade, kShapesOnly, kLeftOut };
  /// Whose rows: both sides', or only the sources' if targets are yet to be found. Then there are
  /// no target rows, groups or blocks, whatever targets the batch has.
  enum class Sides { kBoth, kSource };
  PackedRows(const data::Batch& batch, Places places, const AttentionCuts& cuts = {},
             Sides sides = Sides::kBoth);

  /// B+1 entries.
  [[nodiscard]] std::span<const std::int64_t> source_offsets() const noexcept {
    return source_offsets_;
  }
  [[nodiscard]] std::span<const std::int64_t> target_offsets() const noexcept {
    return target_offsets_;
  }
  /// The encoder states that cross attention sees, 0, step, 2 step, … of each sentence: B+1 offsets
  /// and B lengths of packed rows of them, and the source rows that they are; no rows where step is
  /// 1, as they are all.
  [[nodiscard]] std::span<const std::int64_t> memory_offsets() const noexcept {
    return memory_rows_.empty() ? source_offsets_ : memory_offsets_;
  }
  [[nodiscard]] std::span<const std::int32_t> memory_lengths() const noexcept {
    return memory_lengths_;
  }
  [[nodiscard]] std::span<const std::int64_t> memory_rows() const noexcept { return memory_rows_; }
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

  /// The blocks of the three attentions, if their rules are local.
  [[nodiscard]] const AttentionBlocks& source_blocks() const noexcept { return source_blocks_; }
  [[nodiscard]] const AttentionBlocks& target_blocks() const noexcept { return target_blocks_; }
  [[nodiscard]] const AttentionBlocks& cross_blocks() const noexcept { return cross_blocks_; }

 private:
  void thin_memory(std::int64_t step);
  /// Without lengths of targets they are 0.
  void make_groups(const data::Batch& batch, std::int64_t step, Sides sides);

  using Places64 = runtime::PlannedVector<std::int64_t>;

  bool planned_;  ///< shapes on the host: a plan counts what the vectors take
  Places64 source_offsets_, target_offsets_, memory_offsets_, memory_rows_;
  runtime::PlannedVector<std::int32_t> memory_lengths_;
  at::Tensor source_places_, target_places_;
  std::vector<AttentionGroup> source_groups_, target_groups_, cross_groups_;
  AttentionBlocks source_blocks_, target_blocks_, cross_blocks_;
};

/// Writes the positions of the rows of sentences of these lengths, one after the other.
void write_places(std::span<const std::int32_t> lengths, std::int32_t* to);

}  // namespace th::model
