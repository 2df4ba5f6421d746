#pragma once

#include <span>
#include <vector>

#include "model/sublayers/attention.hpp"
#include "th/model/blocks/pass_sizes.hpp"
#include "th/model/memory/batch_copies.hpp"

namespace th::model {

/// What a pass that makes gradients is to minimise: the batch's sum of token losses times
/// `gradient_scale`.
struct LossTarget {
  float smoothing = 0;
  float gradient_scale = 0;
  double* loss = nullptr;        ///< the sum of token losses is added to it, in the device's memory
  double* row_losses = nullptr;  ///< [target_tokens], in the device's memory; null: not kept
};

/// What a layer keeps for its backward pass, each part by the sublayer that wrote it.
struct Tape {
  at::Tensor input;  ///< [M, D]; kept where the layer is computed again
  ResidualTape attention_residual, cross_residual, feed_forward_residual;
  AttentionTape attention, cross_attention;
  FeedForwardTape feed_forward;
  NormTape norm;
};

/// One forward (and backward) over one micro-batch: the batch, and what its blocks share.
struct Pass {
  const data::Batch& batch;
  PassContext context;
  BatchCopies* copies =
      nullptr;  ///< to a device with memory of its own, where anything is computed
  PackedRows::Sides sides = PackedRows::Sides::kBoth;
  PackedRows rows{batch, places(), context.cuts, sides};
  BatchArrays arrays = context.memory == runtime::DeviceMemory::kHost ? host_arrays(batch, rows)
                       : copies != nullptr                            ? copies->take(batch, rows)
                                                                      : BatchArrays();
  LossTarget target{};
  at::Tensor memory{};     ///< the encoder states that cross attention sees [memory rows, D]
  at::Tensor g_memory{};   ///< its gradient, to which each decoder layer adds
  ParameterSpan shared{};  ///< the unit that several blocks use, while it is held open

  /// The rows of the encoder's output [source rows, D] that cross attention sees.
  [[nodiscard]] at::Tensor take_memory(const at::Tensor& encoded) const;
  /// The gradient of the encoder's output from that of the rows that cross attention sees.
  [[nodiscard]] at::Tensor spread_memory(at::Tensor g_taken) const;
  /// The sentences of one of the three attentions.
  [[nodiscard]] AttentionSite site(AttentionPlace place, const AttentionRules& rules,
                                   Dropout dropout) const;

 private:
  [[nodiscard]] PackedRows::Places places() const {
    if (context.memory == runtime::DeviceMemory::kOwn) return PackedRows::Places::kLeftOut;
    return context.gemm->computes() ? PackedRows::Places::kMade : PackedRows::Places::kShapesOnly;
  }
};

/// What one layer keeps between the steps of decoding.
struct LayerCache {
  /// [memory rows, 2D]: keys, then values of the encoder states that cross attention sees. Under a
  /// local rule [sentences, kept keys, 2D]: key s of a sentence is in place s % kept keys.
  at::Tensor cross;
  std::int64_t next_key = 0;  ///< under a local rule: the first of each sentence that was not made
  /// [kept steps, capacity, 2D]: those of each row of each step, step t in place t % kept steps.
  at::Tensor self;
};

/// The keys that a step's query sees, of a sentence that does not end.
[[nodiscard]] inline runtime::PositionRange keys_seen(const runtime::ScoreRule& rule,
                                                      std::int64_t step) {
  return rule.keys(step, runtime::ScoreRule::kNoEnd);
}

/// The rows of one step of decoding: R live hypotheses, each at the same position. There is room
/// for the most rows and keys from the first step on, so that memory does not depend on what is
/// found.
struct DecodingRows {
  const Pass& pass;
  std::int64_t capacity = 0, steps = 0;  ///< most rows of a step, most steps
  std::int64_t kept_steps = 0;           ///< steps that a query sees at most
  std::int64_t kept_keys = 0;  ///< encoder states of a sentence that one sees; 0: the rule is full
  std::int64_t step = 0;       ///< this one, the position of every row
  std::int64_t count = 0;      ///< R
  at::Tensor ids{};            ///< decoder inputs, int64 [capacity]
  at::Tensor places{};         ///< this step, int32 [capacity]
  /// Int32 [2, capacity, 1 + kept steps], those of even and those of odd steps: of each row its
  /// sentence, then the row that it was in each step that is kept, this one included: step t in
  /// place 1 + t % kept steps.
  at::Tensor lines{};
  at::Tensor scratch{};  ///< [threads, attend_scratch() floats of the most keys that a query sees]
  at::Tensor pairs{};    ///< room for their addresses, int64 [threads, most keys]
  /// By sentence, the ids that logits are asked of; empty: all.
  std::vector<std::span<const std::int32_t>> candidates{};

  /// Takes all of that. `longest`: the longest sentence's encoder states that cross attention sees.
  void make_room(std::int64_t longest, std::int64_t width);
  /// The line of a row of step `of`, this one or the one before.
  [[nodiscard]] std::int32_t* line(std::int64_t of, std::int64_t row) const {
    return lines.data_ptr<std::int32_t>() + (of % 2 * capacity + row) * (1 + kept_steps);
  }
  /// Of a row of this step.
  [[nodiscard]] std::int64_t sentence(std::int64_t row) const { return line(step, row)[0]; }
  [[nodiscard]] std::span<const std::int32_t> candidates_of_row(std::int64_t row) const {
    return candidates[static_cast<std::size_t>(sentence(row))];
  }
};

}  // namespace th::model
