#pragma once

#include "model/sublayers/attention_rules.hpp"
#include "model/sublayers/sublayers.hpp"
#include "th/model/memory/packed_rows.hpp"

// Scaled dot-product attention of several heads (Vaswani et al. 2017, 3.2) over packed rows. B
// sentences, T queries, S keys, D width, H heads, K head width, M rows.
namespace th::model {

/// Of QK-norm: queries or keys as they were projected [M, H, K], and op::RmsNorm's rstd [M, H].
struct HeadNormTape {
  at::Tensor before, rstd;
};

/// What the backward pass needs.
struct AttentionTape {
  /// Group after group [B*H, T|S, K], q scaled by 1/sqrt(K). In one kernel: packed rows, q, k and v
  /// [M, 3D] in q, or q [M, D] and k, v [M, 2D] in k.
  at::Tensor q, k, v;
  /// Group after group [B*H, T, S], before dropout; not kept by selective checkpointing.
  at::Tensor probabilities;
  at::Tensor merged;  ///< [M, D], the input of out_proj; not kept by selective checkpointing
  HeadNormTape query_norm, key_norm;
};

/// One attention's sentences, rules and dropout. Arrays are in the kernels' memory.
struct AttentionSite {
  std::span<const AttentionGroup> groups;
  // Of all sentences, as PackedRows has them, and their last entries.
  const std::int64_t *query_offsets = nullptr, *key_offsets = nullptr;
  std::int64_t query_rows = 0, key_rows = 0;
  const std::int32_t* key_lengths = nullptr;  ///< [B]; null: a group's keys are all real
  const std::int32_t* places = nullptr;       ///< of the query rows, where the rule rotates
  AttentionRules rules;
  Dropout dropout;
  /// Of a local rule, what products compute in place of whole sentences (AttentionBlocks): groups
  /// of blocks, and the rows of each block.
  std::span<const AttentionGroup> blocks{};
  const op::RowSpan *query_spans = nullptr, *key_spans = nullptr;
  /// The draws of one group's scores [B*H, T, S]; those of blocks count as attention in one kernel
  /// does (op::BlockPlaces).
  [[nodiscard]] Dropout group_dropout(std::size_t group) const;
  /// All sentences as one group, as long as the longest.
  [[nodiscard]] AttentionGroup all_sentences() const;
};

/// The rows of one attention.
struct AttentionRows {
  const at::Tensor& x_MD;       ///< queries, and for self attention keys and values
  const at::Tensor& memory_MD;  ///< keys and values of cross attention; undefined: self attention
  const AttentionSite& site;
};

/// Parameters as torch.nn.MultiheadAttention: in_proj_weight [3D,D], in_proj_bias [3D],
/// out_proj.weight [D,D], out_proj.bias [D]. With QK-norm (Henry et al. 2020, as RMSNorm of each
/// head before positions turn it) q_norm.weight [K] and k_norm.weight [K] too.
class Attention {
 public:
  enum class Part { kQueries, kKeys };

  explicit Attention(ParameterRange range = {0, 4}) : range_(range) {}

  /// [M, D].
  [[nodiscard]] at::Tensor forward(const PassContext& context, const ParameterSpan& unit,
                                   const AttentionRows& rows, AttentionTape& tape) const;
  /// The gradient of x. That of the memory is added to `g_memory`, which self attention does not
  /// have.
  [[nodiscard]] at::Tensor backward(const PassContext& context, const ParameterSpan& unit,
                                    const at::Tensor& g_MD, const AttentionRows& rows,
                                    const AttentionTape& tape, at::Tensor* g_memory) const;

  // The three projections, for decoding too.
  [[nodiscard]] Linear query_key_value(const ParameterSpan& unit) const;  ///< [M,D] -> [M,3D]
  [[nodiscard]] Linear query(const ParameterSpan& unit) const;            ///< [M,D] -> [M,D]
  [[nodiscard]] Linear key_value(const ParameterSpan& unit) const;        ///< [M,D] -> [M,2D]
  [[nodiscard]] Linear out(const ParameterSpan& unit) const;              ///< [M,D] -> [M,D]
  /// QK-norm, in place in the D columns of projected rows from `column` on; nothing without it.
  /// `tape` null: there is no backward pass.
  void normalize(const PassContext& context, const ParameterSpan& unit, const at::Tensor& projected,
                 std::int64_t column, Part part, HeadNormTape* tape) const;

  /// Turns queries and keys of projected rows [M, 3D] by their places [M], or their gradients back.
  static void rotate(const PassContext& context, const AttentionRules& rules,
                     const std::int32_t* places, const at::Tensor& projected,
                     runtime::RotationRule::Direction direction);

 private:
  [[nodiscard]] bool has_norms() const noexcept { return range_.count > 4; }
  /// The gradient of what normalize() was given in place of that of its result.
  void normalize_backward(const PassContext& context, const ParameterSpan& unit,
                          const at::Tensor& g_projected, std::int64_t column, Part part,
                          const HeadNormTape& tape) const;

  ParameterRange range_;
};

}  // namespace th::model
