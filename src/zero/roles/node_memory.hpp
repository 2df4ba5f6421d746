#pragma once

#include <array>
#include <memory>
#include <vector>

#include "th/zero/state_store.hpp"
#include "zero/roles/engine_frame.hpp"

namespace th::zero {

/// Memory that the ranks of a node have once: parameters, and where optimizer states are not
/// sharded master weights and states. Null buffers: each rank has its own.
struct NodeMemory {
  using Buffer = std::unique_ptr<runtime::TransportBuffer>;
  Buffer parameters;  ///< working type, whole
  Buffer masters;
  std::array<Buffer, runtime::kMaxOptimizerStates> states;
  /// By rank: whether this rank updates the shard that that one reduced, where optimizer states are
  /// whole. All of them, but where the ranks of a node have the states once each its own, and those
  /// of other nodes that it takes in.
  std::vector<bool> updates;

  [[nodiscard]] StateStore::Given given() const;
};

/// What once_a_node() allows and the node has room for; with shared parameters at stage 3 the
/// frame's units are read where their shards lie. On a device with memory of its own nothing is
/// shared. Collective.
[[nodiscard]] NodeMemory allocate_once_a_node(EngineFrame& frame);

/// Memory for gathered units: one that the ranks of a node have once, or a block of the device.
struct GatherBuffer {
  std::unique_ptr<runtime::TransportBuffer> shared;
  runtime::DeviceBlock own;
  [[nodiscard]] std::byte* data() const { return shared ? shared->data() : own.data(); }
};
/// For elements of the working type. Collective.
[[nodiscard]] GatherBuffer make_gather_buffer(const EngineFrame& frame, std::int64_t elements);

}  // namespace th::zero
