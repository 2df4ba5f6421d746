#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/batch.hpp"
#include "th/model/products/gemm.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/transport_memory.hpp"
#include "th/zero/engine_buffers.hpp"

namespace th::zero {

using data::BatchShape;

/// What a run does that takes memory. Of each list of shapes any may be the largest, and the plan
/// takes the worst; an empty list: the phase does not occur.
struct PlanRequest {
  config::RunConfig config;
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
  std::int64_t longest = 0;      ///< ids in a sentence: the position table's rows
  double source_per_target = 1;  ///< model::TransformerSpec
  std::int64_t ranks = 1, slots = 1;
  std::vector<BatchShape> training, evaluation, decoding;
  /// Whether a test set is decoded, maybe by other ranks alone: each rank copies the parameters,
  /// unless decodes_sharded().
  bool decodes = false;
  /// In lock step a rank decodes at most so many sentences of a batch at a time; 0: all of them.
  std::int64_t decoded_together = 0;
  std::int64_t batch_bytes = 0;  ///< of the training batches that wait
  std::int64_t evaluation_batch_bytes = 0;
  bool saves = false;    ///< checkpoints are written
  bool resumes = false;  ///< the state comes from a checkpoint
  bool messages =
      false;  ///< gradients travel by messages alone: a unit's pieces are received into a buffer
  std::optional<runtime::NodeMap> nodes;    ///< where the ranks are; empty: all on one node
  std::optional<std::int64_t> shared_room;  ///< what windows may take, as for once_a_node()
  int rank = 0;                             ///< whose plan this is, where nodes are unlike
  std::optional<model::GemmLibrary> gemm;   ///< empty: that of run.gemm
  bool fused_attention = false;  ///< of a GPU's kernels (model::ComputeDevice::fused_attention)
  runtime::DeviceMemory memory =
      runtime::DeviceMemory::kHost;  ///< kOwn: of a GPU, beside which the host holds
                                     ///< batches, staging copies and what is offloaded
  std::optional<runtime::Transport>
      transport;  ///< of tensors in a device's own memory; empty: one that keeps no buffers
};

/// Bytes of one rank by class in each phase. The peak is the phase with the largest total on the
/// device.
struct MemoryPlan {
  struct Phase {
    std::string name;
    runtime::MemoryUse use;   ///< on the device: of a CPU run all there is
    runtime::MemoryUse host;  ///< beside a device with memory of its own
  };
  std::vector<Phase> phases;
  StepTraffic traffic;                ///< bytes sent a step
  StepTraffic between_nodes;          ///< bytes that this rank sends to ranks of other nodes
  std::int64_t checkpoint_bytes = 0;  ///< of all shards together
  std::int64_t parameters = 0;        ///< without padding
  double update_operations = 0;       ///< floating point, of the update of whole tensors: unit by
                                      ///< unit those of the rank that has most
  std::int64_t once_a_node =
      0;  ///< of every phase's bytes: what the ranks of a node have together, once (OnceANode)
  [[nodiscard]] const Phase& peak() const;
  /// The phase of that name; null if it does not occur.
  [[nodiscard]] const Phase* find(std::string_view name) const;
  /// Beside a device with memory of its own: the phase that takes most of the host's.
  [[nodiscard]] const Phase& host_peak() const;
  /// The part of a node's memory that one of `ranks_here` ranks there stands for, which counts
  /// `bytes` as its own.
  [[nodiscard]] std::int64_t of_node(std::int64_t bytes, std::int64_t ranks_here) const {
    return bytes - once_a_node * (ranks_here - 1) / ranks_here;
  }
};

/// Whether the run decodes in lock step, with parameters that stay sharded: decode.sharded is on,
/// and stage 3. auto must be resolved: it counts as off.
[[nodiscard]] bool decodes_sharded(const config::RunConfig& config);

/// Consecutive sentences of each shape, at most so many at a time (0: all of them).
[[nodiscard]] std::vector<BatchShape> parts_of(const std::vector<BatchShape>& shapes,
                                               std::int64_t most);
/// How many sentences `request` may decode together in lock step, so that decoding takes no more
/// than training does: all of a batch, half of them, a quarter, …; at least 1. Beside a device with
/// memory of its own, where the host decodes, and without training: all of them.
[[nodiscard]] std::int64_t sentences_in_lock_step(const PlanRequest& request);

/// Computes the memory of a rank before anything is allocated: buffers by engine_buffers, by which
/// the engine allocates, and activations by running the model's own forward and backward code
/// without data. Not collective; takes hardly any memory itself.
[[nodiscard]] MemoryPlan plan_memory(const PlanRequest& request);

}  // namespace th::zero
