#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/base/bit_flip.hpp"
#include "th/config/run_config.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/device/device.hpp"
#include "th/runtime/device/stream.hpp"
#include "th/runtime/observe/flight_record.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/gather_pool.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_audit.hpp"
#include "th/zero/slot_tree.hpp"
#include "th/zero/state_store.hpp"

namespace th::zero {

class DecodingSource;
class WholeUpdate;

/// What one optimizer step reports, the same on every rank.
struct StepResult {
  double loss_sum = 0;     ///< over all slots, added in slot order
  double grad_norm = 0;    ///< of the mean gradient, loss scale taken out, before clipping
  std::string not_finite;  ///< where the norm is not finite: the first tensor with such a gradient,
                           ///< in the layout's order; else empty
};

/// What shared-memory windows may take on the node that has fewest, bytes; empty where no node
/// tells. Collective.
[[nodiscard]] std::optional<std::int64_t> agreed_shared_room(runtime::Collectives& collectives);

/// What the trainer asks of a step's end.
struct StepRequest {
  double lr = 0;
  std::int64_t optimizer_step = 1;  ///< counts from 1, of the steps that updated
  double loss_scale = 1;            ///< the gradients were multiplied by it
};

/// Data-parallel training of a flat parameter space with ZeRO 0 to 3: a step is accumulate() once a
/// round of slots, then step(). Neither contains a stage number: three policies decide where
/// parameters live, when gradients are reduced, and what is updated. Parameters and activations are
/// of precision.dtype, with fp32 master weights beside 16-bit ones; gradients are made in fp32 and
/// reduced in fp32 or in the working type (precision.reduce_dtype). All calls are collective unless
/// they say otherwise.
class ZeroEngine final : public model::ParameterSource {
 public:
  /// Allocates everything and initialises the parameters from (seed, tensor name). `device` is
  /// where the buffers of `collectives` are, null: the host; both outlive the engine. Where
  /// comm.overlap is on communication has a stream of its own (auto counts as off), else it is part
  /// of compute.
  ZeroEngine(const config::RunConfig& config, const model::Transformer& model,
             runtime::Collectives& collectives, std::int64_t slots,
             runtime::Device* device = nullptr);
  ~ZeroEngine() override;

  /// Begins a step: no gradients, slot 0 next.
  void begin_step();
  /// One round: this rank's micro-batch, or an idle slot where it is null or empty.
  void accumulate(model::Transformer& model, const data::Batch* batch, std::uint64_t step_key,
                  double gradient_scale, double label_smoothing);
  /// Reduces what is left, clips, updates the parameters. With a loss or norm that is not finite
  /// nothing is updated.
  StepResult step(const StepRequest& request);
  /// step() in two: enqueues the end of a step, and waits for that of the earliest one whose result
  /// nobody took. Where runs_ahead() the next step may be enqueued before: the host waits for
  /// nothing, and clipping and the verdict on what is not finite are the device's. At most two
  /// results wait.
  void end_step(const StepRequest& request);
  [[nodiscard]] StepResult result();
  /// Whether the device has the step's end to itself: memory of its own, and the optimizer's states
  /// there. Not collective.
  [[nodiscard]] bool runs_ahead() const noexcept {
    return !device_.is_host() && !buffers_.optimizer_on_host;
  }

  /// The step that has begun audits this slot (run.audit_steps): what is computed of it in its
  /// round and what arrives of it is hashed. Between begin_step() and the first round.
  void begin_audit(std::int64_t slot);
  /// Computes the audited slot once more, as accumulate() does, on the one rank that has its
  /// micro-batch; the others go along. Nothing becomes of its loss and gradients but hashes, which
  /// the rank gets, elsewhere none. Before the first round; or behind the last one of a step that
  /// does not end, whose gradients are lost then.
  [[nodiscard]] SlotHashes compute_again(model::Transformer& model, const data::Batch* batch,
                                         std::uint64_t step_key, double gradient_scale,
                                         double label_smoothing);
  /// What the rounds found, behind the last one. Waits for all that was enqueued. Not collective.
  [[nodiscard]] AuditedSlot audited();
  /// Hashes of this rank's copy of the parameters, one a unit; at stage 0 of the master weights
  /// too. None where there is no other copy, where another rank of the node answers for one that
  /// they share, and at stage 3. Not collective.
  [[nodiscard]] std::vector<std::uint64_t> parameter_hashes();
  /// A testing aid: a bit of this rank's copy of the parameters flips. Not collective.
  void spoil_parameters();

  /// So many forward passes of the model follow, on every rank (Transformer::evaluate or
  /// idle_forward), before the next step: stage 3 gathers units ahead in them too.
  void begin_evaluation(std::int64_t rounds);

  /// The same of decoding in lock step: the beginning of a batch follows on every rank
  /// (model::BatchSearch, or model::IdleDecoding for a rank that has none), or so many steps of it,
  /// each of which every rank takes.
  void begin_decoding();
  void begin_decoding_steps(std::int64_t steps);

  // ParameterSource
  const model::UnitTensors& open_forward(std::int64_t unit) override;
  void close_forward(std::int64_t unit) override;
  model::UnitTensors& open_backward(std::int64_t unit) override;
  void close_backward(std::int64_t unit) override;

  /// Exchanges the parameters and their moving average, on every rank: validation and decoding in
  /// between use the average; a second call brings the parameters back, the same bits. With
  /// train.ema_decay alone.
  void swap_average();
  /// Begins the average anew, with the parameters as they are; nothing without train.ema_decay.
  void start_average();

  /// The parameters for decoding in lock step, unit by unit as training has them; beside a device
  /// with memory of its own through host memory of the largest unit. Outlived by the engine. Not
  /// collective; its units are gathered by all ranks together.
  [[nodiscard]] std::unique_ptr<DecodingSource> decoding_source(const model::Transformer& model);
  /// A copy of all parameters in every rank's host memory, in the layout of one rank: for decoding,
  /// where ranks take unlike numbers of steps.
  [[nodiscard]] std::unique_ptr<model::ParameterSource> gather_all(const model::Transformer& model);

  [[nodiscard]] const FlatLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const EngineBuffers& buffers() const noexcept { return buffers_; }
  [[nodiscard]] std::int64_t rounds() const noexcept { return rounds_; }
  [[nodiscard]] std::int64_t slots() const noexcept { return slots_; }
  /// The stream of the collectives, and what the last steps did. Not collective.
  [[nodiscard]] const runtime::Stream& communication() const noexcept { return communication_; }
  [[nodiscard]] const runtime::FlightRecord& flight() const noexcept { return *flight_; }
  [[nodiscard]] const std::shared_ptr<runtime::FlightRecord>& flight_record() const noexcept {
    return flight_;
  }
  /// Waits for all that was enqueued; the record has its times then.
  void settle();

  /// The states that a checkpoint holds, in its order: the parameters, then the optimizer's. Not
  /// collective.
  struct NamedState {
    const char* name;
    State state;
  };
  [[nodiscard]] std::vector<NamedState> states() const;
  /// This rank's shard of parameters (the master weights) or of a state of the optimizer in flat
  /// shard order, shard_total() elements. Not collective.
  using State = zero::State;
  void read_state(State state, std::span<float> out) const;
  /// Replaces the state from this rank's shard; where it is kept whole, the ranks' shards are
  /// gathered.
  void write_state(State state, std::span<const float> in);
  /// The same for one unit's slice of the shard, layout().units()[unit].shard elements.
  void read_unit(State state, std::int64_t unit, std::span<float> out) const;
  void write_unit(State state, std::int64_t unit, std::span<const float> in);

 private:
  using Buffer = std::unique_ptr<runtime::TransportBuffer>;
  /// Where this rank's shard of a unit that the store keeps lies for a gather.
  struct GatherSource {
    Buffer buffer;
    runtime::Event left;  ///< of communication: the gather that read it last
  };

  /// Where gathered units lie: memory that the ranks of a node have once, or a block of the device.
  struct Slots {
    Buffer shared;
    runtime::DeviceBlock own;
    [[nodiscard]] std::byte* data() const {
      return shared ? reinterpret_cast<std::byte*>(shared->data()) : own.data();
    }
  };
  /// Slots for elements of the working type. Collective.
  [[nodiscard]] Slots make_slots(std::int64_t elements);

  /// One pass over a slot, or an idle one where the batch is null or empty.
  void compute_slot(model::Transformer& model, const data::Batch* batch, std::int64_t slot,
                    const model::SlotTarget& target, double* loss);
  /// Testing aids (BitFlip): a bit of a unit's values, of this opening alone, or of its gradient.
  void spoil_weights(std::int64_t unit);
  void spoil_gradient(BitFlip::Place place, std::int64_t unit);

  /// Enqueues the copy of a kept shard into the next source, for communication.
  GatherSource& fetch(std::int64_t unit, const std::byte* kept);

  void allocate();
  /// Parameters, and what else is whole, where the ranks of a node can have it once. Collective.
  void allocate_once_a_node();
  void lay_out_places();
  void initialise(std::uint64_t seed);
  /// All of them, by what compute holds so far: nothing that was gathered before is current.
  void parameters_changed();
  /// Enqueues the reduction of a unit's gradient.
  void reduce_unit(std::int64_t unit);
  /// What that does, on the communication stream.
  void reduce_fast(std::int64_t unit, std::int64_t offset, std::int64_t round);
  void reduce_exact(std::int64_t unit, std::int64_t offset, std::int64_t round);
  /// What a round's slots give to this rank's shard; in the round of an audit slot by slot.
  [[nodiscard]] std::vector<runtime::Contribution> contributions(std::int64_t unit,
                                                                 std::int64_t offset,
                                                                 std::int64_t round,
                                                                 const runtime::SubtreeSum& sum);
  /// Enqueues the gather of all ranks' shards of a unit's parameters into `to`; `within`: the
  /// buffer of allocate_shared() where that lies outside the parameters. Collective.
  void gather_unit(std::int64_t unit, std::byte* to, runtime::TransportBuffer* within = nullptr);
  /// The same behind what compute holds; waits.
  void gather_now(std::int64_t unit, std::byte* to, runtime::TransportBuffer* within = nullptr);
  /// Makes a unit's values readable.
  void acquire(std::int64_t unit);
  void release(std::int64_t unit);
  /// Takes the unit's next place for a gradient, when nobody reads there any more.
  void take_gradient_place(std::int64_t unit);
  /// Whether gradients of earlier rounds stay, to be added to.
  [[nodiscard]] bool adds_over_rounds() const;
  /// Zeroes a unit's gradient but for what products write first; all of it on a rank without a
  /// slot.
  void zero_gradients(std::int64_t unit);
  /// The unit's tensors within the elements of `type` at `base`.
  [[nodiscard]] std::vector<at::Tensor> views(std::int64_t unit, void* base,
                                              config::Precision type) const;
  /// Elements of the working or of the reduced type at an offset of a buffer.
  [[nodiscard]] std::byte* working_at(runtime::TransportBuffer& buffer, std::int64_t element) const;
  [[nodiscard]] std::byte* reduced_at(float* buffer, std::int64_t element) const;
  /// Whether the parameters' buffer holds all shards, unit by unit.
  [[nodiscard]] bool whole_parameters() const noexcept {
    return !policy_.shard_parameters || buffers_.gathers_in_place;
  }
  /// The others' shards of a unit in it are not read for now.
  void forget_unit(std::int64_t unit);
  /// This rank's shard of a unit's parameters on the device; null where the store keeps it on the
  /// host.
  [[nodiscard]] std::byte* parameter_shard(std::int64_t unit) const;
  [[nodiscard]] std::byte* reduced_gradient(std::int64_t unit) const;
  /// Where the unit's gradient is made, fp32, and from where it travels.
  [[nodiscard]] float* unit_gradient(std::int64_t unit) const;
  [[nodiscard]] std::byte* travelling_gradient(std::int64_t unit) const;
  /// Whether this rank updates the shard that `rank` reduced: without sharding all of them, but
  /// where the ranks of a node have the states once, each its own and those of other nodes that it
  /// takes in.
  [[nodiscard]] bool updates(std::int64_t rank) const {
    return updates_[static_cast<std::size_t>(rank)];
  }
  /// The part of a unit that this rank updates.
  [[nodiscard]] StateStore::Slice slice_of(std::int64_t unit) const;
  /// This rank's shard of it.
  [[nodiscard]] StateStore::Slice my_shard(std::int64_t unit) const;
  /// Whether every rank updates its own part alone, whose gradients are there for all units when a
  /// step's update begins.
  [[nodiscard]] bool updates_own_part() const {
    return policy_.shard_optimizer || config_.comm.reduction == config::Reduction::kFast;
  }
  /// The optimizer's step on what this rank updates of a unit; what others updated is brought here,
  /// by the communication stream.
  void update_unit(std::int64_t unit, const runtime::UpdateFactors& factors,
                   const runtime::StepOutcome* outcome);
  void update_whole(std::int64_t unit, const runtime::UpdateFactors& factors,
                    const runtime::StepOutcome* outcome);
  void update_shard(std::int64_t unit, const runtime::UpdateFactors& factors,
                    const runtime::StepOutcome* outcome);
  /// The parts of a slice that the element's formula updates: all of it, or what lies between
  /// matrices.
  [[nodiscard]] std::vector<StateStore::Slice> parts_of(const StateStore::Slice& slice) const;
  /// The update of a unit's matrices (whole_update_). Collective.
  void update_matrices(std::int64_t unit);
  /// Takes a slice that was updated into the average, where there is one.
  void average(const StateStore::Slice& slice);
  /// All units, by the outcome where the device has it.
  void update(const StepRequest& request, double gradient_factor,
              const runtime::StepOutcome* outcome);
  /// Enqueues the squares' sums of this rank's blocks into its record at `record`, where reductions
  /// did not make them.
  void sum_squares(double* record);
  /// Whether a reduction makes the norms of what it sums: on the host, of the exact sum.
  [[nodiscard]] bool reduction_sums_squares() const {
    return device_.is_host() && config_.comm.reduction == config::Reduction::kExact;
  }
  /// All ranks' records from this rank's, in device memory.
  [[nodiscard]] const double* gather_records();
  /// Enqueues the outcome of `records` into `outcome`, both in device memory.
  void conclude(const StepRequest& request, const double* records, runtime::StepOutcome* outcome);
  [[nodiscard]] std::string first_not_finite(const runtime::StepOutcome& outcome);
  /// This rank's record in the making: norms of its blocks, then losses of its slots.
  [[nodiscard]] double* record() {
    return device_.is_host() ? host_record_.as<double>()
                             : reinterpret_cast<double*>(record_->data());
  }
  [[nodiscard]] double* losses() { return record() + buffers_.shard_blocks; }
  /// Where store_->updating() stands in the flight record.
  [[nodiscard]] runtime::FlightRecord::On updates_on() const {
    return buffers_.optimizer_on_host ? runtime::FlightRecord::On::kHost
                                      : runtime::FlightRecord::On::kCompute;
  }
  /// The working copy of this rank's shard from its master weights, and every rank's shard to
  /// everyone, where they are kept whole.
  void share_unit(std::int64_t unit);
  /// Every rank's fp32 shard of a unit, `mine`, into `whole`; through the gradient buffer, which is
  /// free between steps.
  void share_fp32(std::int64_t unit, const float* mine, float* whole);
  /// The same into a whole state of any type.
  void share_state(std::int64_t unit, const float* mine, State state);
  /// What both do: `place(at, from, count)` takes elements of the whole unit from `at` on.
  template <typename Place>
  void share_shards(std::int64_t unit, const float* mine, runtime::Access whole, Place place);
  /// Whether a state has every element, in fp32: it lies as the parameters do.
  [[nodiscard]] bool is_plain(State state) const {
    const std::size_t number = static_cast<std::size_t>(state) - 1;
    return state == State::kParameters ||
           (buffers_.state_element(number) == 4 && buffers_.state_layouts[number].dense());
  }
  [[nodiscard]] float* whole_state(State state, std::int64_t unit) const;

  config::RunConfig config_;
  runtime::Collectives& collectives_;
  std::unique_ptr<runtime::Device> host_;  ///< of an engine that was given no device
  runtime::Device& device_;
  ZeroPolicy policy_;
  FlatLayout layout_;
  std::int64_t slots_, rounds_, rank_, ranks_;
  std::int64_t round_ = 0;
  /// A step whose result nobody took.
  struct Ended {
    runtime::StepOutcome outcome;
    const runtime::StepOutcome* arriving =
        nullptr;  ///< where the host will find it; null: it is here
    runtime::Event arrived;
  };
  /// From all ranks' gradients and losses; enqueues it.
  [[nodiscard]] Ended find_outcome(const StepRequest& request);
  /// Waits until the outcome is here.
  void arrive(Ended& ended);
  std::deque<Ended> ended_;
  std::int64_t ends_ = 0;                             ///< steps that ended
  double average_rate_ = 0;                           ///< of the step that is taken
  bool idle_ = false;                                 ///< this rank has no slot in the round
  std::int64_t slot_ = runtime::FlightRecord::kNone;  ///< that this rank is in
  runtime::DeviceBlock host_record_;                  ///< on the host: what record_ is on a device
  at::Device tensor_device_;                          ///< of the model's tensors
  UnitUse use_;
  EngineBuffers buffers_;

  Buffer parameters_;  ///< working type: whole (once a node where it can be), or this rank's
                       ///< shards; null where the store keeps them
  std::vector<GatherSource> gather_sources_;  ///< working type, taken in turn
  Buffer gradients_;                          ///< reduced type: whole, or the units in flight
  runtime::DeviceBlock shard_gradients_;      ///< reduced type
  Slots slots_of_gathers_;                    ///< working type
  runtime::DeviceBlock unit_gradients_;       ///< fp32
  runtime::DeviceBlock pending_;              ///< fp32: the slot tree's
  Buffer record_;  ///< fp64: this rank's of the step, with the losses in the making, on a device
                   ///< with memory of its own
  runtime::DeviceBlock records_;        ///< fp64: all ranks'
  runtime::DeviceBlock outcome_;        ///< of the last step
  runtime::DeviceBlock read_outcomes_;  ///< pinned: those on their way to the host, in turn
  std::vector<bool> updates_;  ///< by rank: whether this one updates the shard that it reduced,
                               ///< where optimizer states are whole
  Buffer node_masters_;        ///< master weights that the ranks of a node have once
  std::array<Buffer, runtime::kMaxOptimizerStates> node_states_;  ///< and the optimizer's states
  std::unique_ptr<StateStore> store_;
  std::unique_ptr<WholeUpdate> whole_update_;  ///< null: no tensor is updated as a whole
  std::vector<int> open_;                      ///< how often a unit is open
  std::vector<model::UnitTensors> tensors_;
  std::unique_ptr<SlotTree> tree_;    ///< of the communication stream's tasks alone
  std::unique_ptr<SlotAudit> audit_;  ///< null: the deck asks for none

  std::vector<runtime::Event>
      gradient_free_;  ///< by place of buffers_.exchanged, of communication: the reduction that
                       ///< read there last
  std::vector<std::size_t> gradient_place_;  ///< by unit, the last that it took
  std::int64_t gradient_turn_ = 0;
  std::vector<std::optional<std::uint64_t>>
      forward_event_;  ///< by unit, in the flight record: the one that goes on
  std::vector<std::uint64_t> backward_event_;
  std::shared_ptr<runtime::FlightRecord> flight_ = std::make_shared<runtime::FlightRecord>();
  std::unique_ptr<GatherPool> pool_;  ///< stage 3
  std::int64_t fetched_ = 0;          ///< turns of gather_sources_
  std::vector<runtime::Event>
      updated_;  ///< by unit: what this rank updates of the parameters is that of the last update
  std::vector<runtime::Event> whole_;  ///< by unit: so are all of them, where they are kept whole
  runtime::Stream& compute_;
  std::unique_ptr<runtime::Stream> own_communication_,
      own_copies_;  ///< where they are not compute's; the last members: tasks use the others
  runtime::Stream& communication_;
  runtime::Stream& copies_;  ///< of kept shards to their gathers
};

}  // namespace th::zero
