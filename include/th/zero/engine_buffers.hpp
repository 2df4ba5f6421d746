#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "th/base/slot_dealing.hpp"
#include "th/config/run_config.hpp"
#include "th/runtime/device/device_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/node_map.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/state_layout.hpp"

namespace th::model {
class Transformer;
}
namespace th::runtime {
class ControlCalls;
}

namespace th::zero {

/// What is sharded over the ranks (Rajbhandari et al. 2020, ZeRO). Only zero_policy knows the stage
/// number.
struct ZeroPolicy {
  bool shard_optimizer = false;  ///< each rank keeps and updates its slice of the optimizer state
  bool shard_gradients =
      false;  ///< gradients are reduced unit by unit during backward, full buffers are not kept
  bool shard_parameters = false;  ///< units are gathered on demand
};
[[nodiscard]] ZeroPolicy zero_policy(std::int64_t stage);
/// The run's. With zero.partition=node stage 3 shards no parameters over all ranks: those of a node
/// have them together. At stage 0 an optimizer of whole tensors has its states sharded as at stage
/// 1, which gives the same bits: the owner of a matrix takes slices from their owners.
[[nodiscard]] ZeroPolicy zero_policy(const config::RunConfig& config);

/// Element types of a run's buffers (Micikevicius et al. 2018): activations and parameters in the
/// working type, master weights in fp32 where that has 16 bits, gradients made in fp32 and reduced
/// in fp32 or in the working type.
struct BufferTypes {
  ElementType working = ElementType::kFp32;
  ElementType reduced = ElementType::kFp32;
  [[nodiscard]] bool masters() const noexcept { return working != ElementType::kFp32; }
  [[nodiscard]] bool short_gradients() const noexcept { return reduced != ElementType::kFp32; }
};
[[nodiscard]] BufferTypes buffer_types(const config::RunConfig& config);
/// How a run deals its slots (comm.dealing, resolved): in blocks where ranks have several and an
/// exact reduction in fp32 adds them.
[[nodiscard]] SlotDealing slot_dealing(const config::RunConfig& config, std::int64_t slots,
                                       std::int64_t ranks);

/// How a model uses its units in one round of slots.
struct UnitUse {
  std::vector<bool> long_lived;     ///< by unit: it stays open while others are opened and closed
  std::vector<std::int64_t> opens;  ///< the units in the order in which they are opened that were
                                    ///< closed, forward and backward: what stage 3 gathers
  std::vector<std::int64_t> forward_opens{};  ///< the same of a forward pass alone
  /// The same of decoding: of a batch's beginning, and of each step then, while what the beginning
  /// left open (shared embeddings) is open.
  std::vector<std::int64_t> decoding_opens{}, step_opens{};
};
/// Not collective; computes nothing.
[[nodiscard]] UnitUse unit_use(const model::Transformer& model);

/// The places of units in a buffer of elements: some units have a place of their own, the others
/// take equal places in turn.
struct UnitPlaces {
  std::int64_t shared_elements = 0;  ///< of a place that is taken in turn
  std::int64_t shared = 1;           ///< how many of them, from the buffer's start
  std::vector<std::int64_t> own;     ///< by unit: where its own place begins, -1: it takes turns
  std::int64_t total = 0;            ///< elements of the buffer
  [[nodiscard]] bool takes_turns(std::int64_t unit) const {
    return own[static_cast<std::size_t>(unit)] < 0;
  }
  /// Places are numbered: those that are taken in turn, then one a unit.
  [[nodiscard]] std::size_t places() const { return static_cast<std::size_t>(shared) + own.size(); }
  /// The place of a unit that takes turns for the `turn`-th time, or its own.
  [[nodiscard]] std::size_t place(std::int64_t unit, std::int64_t turn) const {
    return static_cast<std::size_t>(takes_turns(unit) ? turn % shared : shared + unit);
  }
  /// Elements before a place.
  [[nodiscard]] std::int64_t offset(std::size_t place) const {
    const auto in_turn = static_cast<std::size_t>(shared);
    return place < in_turn ? static_cast<std::int64_t>(place) * shared_elements
                           : own[place - in_turn];
  }
};

/// How the operands of an update are copied if device and host both hold some: piece by piece,
/// through two places in the memory of the side that updates. The numbers below are bytes of an
/// element there; 0: it is read and written in place.
struct UpdateStaging {
  static constexpr std::int64_t kPiece = std::int64_t{1} << 20;  ///< elements at most in a place
  static constexpr std::int64_t kPlaces = 2;  ///< one is filled while the other is computed on
  std::int64_t piece = 0;                     ///< elements of a place; 0: nothing travels
  std::int64_t gradients = 0;  ///< on the host alone, and where it updates what other ranks reduced
                               ///< (else EngineBuffers::host_gradients)
  std::int64_t weights = 0;    ///< fp32, in and out
  std::int64_t working = 0;    ///< 16 bits, out
  [[nodiscard]] std::int64_t bytes() const noexcept {
    return kPlaces * piece * (gradients + weights + working);
  }
};

/// The memory of audits (run.audit_steps) on the host; nothing without audits.
struct AuditBuffers {
  /// Bytes that are hashed at a time; memory of a device is copied to the host in such pieces.
  static constexpr std::int64_t kPiece = std::int64_t{4} << 20;
  std::int64_t hashes = 0;  ///< 8 bytes each: of units, and of the slices that go to each rank
  // Of a device with memory of its own, bytes.
  std::int64_t piece = 0;
  std::int64_t arrivals = 0;  ///< this rank's slices of a slot's gradient
  /// Bytes by the ledger, which counts no small blocks.
  [[nodiscard]] std::int64_t bytes() const noexcept;
};

/// The engine's buffers of one rank, in elements, and where units lie in them. The engine allocates
/// by it and the plan counts by it.
struct EngineBuffers {
  BufferTypes types;
  std::int64_t parameters = 0;  ///< working type: whole, or this rank's shards
  std::int64_t masters =
      0;  ///< fp32 master weights, whole or this rank's shards; 0 where the working type is fp32
  std::int64_t gradients =
      0;                   ///< reduced type: whole, or this rank's shards of the reduced gradients
  std::size_t states = 0;  ///< how many the optimizer's rule has, and the average
  bool averages = false;   ///< the last of them is the parameters' moving average
  bool short_states = false;               ///< the optimizer's are kept in bf16
  std::vector<StateLayout> state_layouts;  ///< of each: what it has of a whole, or of the shards
  std::int64_t gather_slots =
      0;  ///< working type: gathered units (parameters sharded), where they are not read in place
  bool gathers_in_place =
      false;  ///< the ranks' shards lie in one buffer that all of them map: each counts its own
  std::int64_t unit_gradients = 0;  ///< fp32: gradients in the making of the units in flight
                                    ///< (gradients sharded, or reduced in 16 bits)
  std::int64_t travel = 0;  ///< reduced type: unreduced gradients of the units in flight (gradients
                            ///< sharded and reduced in 16 bits)
  std::int64_t pending_shard = 0;  ///< of one pending partial sum, fp32
  std::int64_t pending_sums = 0;   ///< how many partial sums wait between exchanges
  std::int64_t pending_whole = 0;  ///< of one partial sum of this rank's own slots, fp32
  std::int64_t own_sums = 0;  ///< how many of them wait between its passes (comm.dealing=blocks)
  std::int64_t record = 0;    ///< fp64: what a rank leaves at a step's end, norms of its blocks and
                              ///< losses of its slots (runtime::StepRecords)
  std::int64_t records = 0;   ///< those of all ranks
  UnitPlaces gathered;  ///< in the gather slots: the unit in use, those that are gathered ahead,
                        ///< those that stay
  UnitPlaces made;  ///< where gradients are made, fp32: a buffer of its own where they are reduced
                    ///< in 16 bits, else `exchanged`
  UnitPlaces exchanged;  ///< in the buffer that travels: whole, or the unit in the making and
                         ///< (overlap) the one in reduction
  std::vector<bool>
      kept;  ///< by unit: gathered once after each update (zero.persistence_threshold)
  std::int64_t shard_blocks = 0;  ///< of them this rank's
  std::int64_t rounds = 0;        ///< of a step
  runtime::DeviceMemory memory = runtime::DeviceMemory::kHost;
  bool optimizer_on_host =
      false;  ///< master weights and the optimizer's states, beside a device with memory of its own
  bool parameters_on_host = false;  ///< this rank's shards of the parameters, likewise
  bool overlap = false;             ///< communication and copies have streams beside compute
  std::int64_t host_gradients = 0;  ///< reduced type: what this rank updates, which comes to such
                                    ///< an optimizer as backward goes on
  std::int64_t gather_source = 0;   ///< working type: a shard on its way from the host to a gather
  std::int64_t gather_sources = 0;  ///< how many: one for each gather that may be under way
  UpdateStaging staging;
  AuditBuffers audit;

  /// Bytes by class on the device while a step runs; all ranks' records of a CPU's step end are
  /// left out.
  [[nodiscard]] runtime::MemoryUse use() const;
  /// The same on the host beside a device with memory of its own; else nothing.
  [[nodiscard]] runtime::MemoryUse host_use() const;
  /// Doubles of all ranks' records that a CPU has while a step ends.
  [[nodiscard]] std::int64_t records_at_end() const noexcept {
    return memory == runtime::DeviceMemory::kHost ? records : 0;
  }
  /// Bytes of an element of a state: 2 where the deck keeps them in bf16, and the average in fp32.
  [[nodiscard]] std::int64_t state_element(std::size_t state) const noexcept {
    const bool is_short = short_states && !(averages && state + 1 == states);
    return element_size(is_short ? ElementType::kBf16 : ElementType::kFp32);
  }
  [[nodiscard]] std::int64_t bytes_of_state(std::size_t state) const noexcept {
    return state_layouts[state].elements() * state_element(state);
  }
  [[nodiscard]] std::int64_t bytes_of_states() const noexcept {
    std::int64_t sum = 0;
    for (std::size_t s = 0; s < states; ++s) sum += bytes_of_state(s);
    return sum;
  }
  /// Outcomes of steps that may wait to be read, on a device with memory of its own.
  static constexpr std::int64_t kOutcomes = 2;
};

/// Units for which `alone` holds have places of their own behind `shared` places for the others.
[[nodiscard]] UnitPlaces unit_places(const FlatLayout& layout, const std::vector<bool>& alone,
                                     std::int64_t shared);

/// comm.overlap must be resolved: auto counts as off. zero.offload_* count where the device has
/// memory of its own. Throws DeckError where zero.max_live_parameters leaves no room for one
/// gathered unit.
[[nodiscard]] EngineBuffers engine_buffers(
    const config::RunConfig& config, const FlatLayout& layout, const UnitUse& use,
    std::int64_t slots, runtime::DeviceMemory memory = runtime::DeviceMemory::kHost);

/// Which data the ranks of a node store once, in shared memory (a CPU run). The data is equal on
/// all of them, and each value is written by one of them. Each rank's ledger counts its own part.
struct OnceANode {
  bool parameters = false;  ///< at stage 3 on one node alone: gathered in place
  bool states = false;      ///< master weights and the optimizer's states, not sharded
};
/// `shared_room`: bytes that windows may take on the node that has fewest, the same on every rank;
/// empty: no limit is known.
[[nodiscard]] OnceANode once_a_node(const config::RunConfig& config, const EngineBuffers& buffers,
                                    const FlatLayout& layout, const runtime::NodeMap& nodes,
                                    std::optional<std::int64_t> shared_room);
/// The bytes that shared-memory windows may take on the node with the least room; empty if no node
/// knows. Collective.
[[nodiscard]] std::optional<std::int64_t> agreed_shared_room(runtime::ControlCalls& control);
/// Whether the ranks of a node share the parameters, so that each holds its part of them: stage 3
/// with zero.partition=node.
[[nodiscard]] bool shares_by_node(const config::RunConfig& config) noexcept;
/// The same on these nodes, of which some must have several ranks.
[[nodiscard]] bool shares_by_node(const config::RunConfig& config,
                                  const runtime::NodeMap& nodes) noexcept;
/// Then: a rank's part of the parameters on a node of so many ranks.
void hold_by_node(EngineBuffers& buffers, std::int64_t node_ranks);
/// With OnceANode::parameters at stage 3: units are read where their shards lie.
void gather_in_place(EngineBuffers& buffers);

/// Whether each unit is persistent: at stage 3, with at most zero.persistence_threshold parameters.
[[nodiscard]] std::vector<bool> kept_units(const config::RunConfig& config,
                                           const FlatLayout& layout);

/// Bytes that one rank sends in an optimizer step, by the algorithm's volume: every payload times
/// (N-1)/N.
struct StepTraffic {
  std::int64_t exchange = 0;    ///< gradient slices to their owners
  std::int64_t all_gather = 0;  ///< shards of parameters (or, at stage 0, of gradients)
  std::int64_t reduce = 0;      ///< comm.reduction=fast
  std::int64_t remainder = 0;   ///< block sums of the norm and the slots' losses, fp64
  [[nodiscard]] std::int64_t total() const noexcept {
    return exchange + all_gather + reduce + remainder;
  }
};
/// `use`: at stage 3 every opening is a gather, except of persistent units.
[[nodiscard]] StepTraffic step_traffic(const config::RunConfig& config, const FlatLayout& layout,
                                       const UnitUse& use, std::int64_t slots);

/// Bytes that `rank` sends to ranks of other nodes in an optimizer step. Gradients leave a node
/// once for each owner outside where its ranks hold a whole subtree of a round's slots (as fp32
/// sums; runtime::slot_blocks), else once a rank; a shard goes to each other node once. What MPI's
/// own calls carry (reduce, remainder) by the algorithm's volume for the ranks of other nodes.
[[nodiscard]] StepTraffic traffic_between_nodes(const config::RunConfig& config,
                                                const FlatLayout& layout, const UnitUse& use,
                                                std::int64_t slots, const runtime::NodeMap& nodes,
                                                int rank);

/// Bytes that `rank` keeps for what comes from and goes to other nodes.
struct NodeBuffers {
  std::int64_t exchange =
      0;                    ///< contributions that arrive, and sums that leave, of the largest unit
  std::int64_t gather = 0;  ///< shards of the largest unit that this rank takes in for its node,
                            ///< where they have no place in a whole buffer
};
[[nodiscard]] NodeBuffers node_buffers(const config::RunConfig& config, const FlatLayout& layout,
                                       std::int64_t slots, const runtime::NodeMap& nodes, int rank);

}  // namespace th::zero
