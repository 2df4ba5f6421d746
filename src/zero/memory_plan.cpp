#include "th/zero/memory_plan.hpp"

#include "th/base/error.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/model/decoding/search_options.hpp"
#include "th/model/memory/batch_copies.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/zero/decoding_source.hpp"
#include "th/zero/whole_matrices.hpp"
#include "th/zero/whole_update.hpp"
#include "zero/planned_source.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <utility>

namespace th::zero {

namespace {

using runtime::MemoryClass;
using runtime::MemoryUse;

/// A batch without ids: a pass that computes nothing reads none.
data::Batch planned_batch(const BatchShape& shape) {
  data::Batch batch;
  batch.sentences = shape.sentences();
  batch.source_lengths = shape.source_lengths();
  batch.target_lengths = shape.target_lengths();
  batch.source_tokens = shape.source_tokens();
  batch.target_tokens = shape.target_tokens();
  const auto longest = [](const std::vector<std::int32_t>& lengths) {
    return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  };
  batch.source_length = longest(batch.source_lengths);
  batch.target_length = longest(batch.target_lengths);
  return batch;
}

enum class Pass { kTraining, kEvaluation, kDecoding };

/// Products set the gradients of a step's passes, or add to them (EngineUnits::open_backward). A
/// library may take other scratch for each.
std::vector<model::Write> gradient_writes(const PlanRequest& request) {
  const config::RunConfig& config = request.config;
  const bool adds = config.comm.reduction == config::Reduction::kFast &&
                    !zero_policy(config).shard_gradients &&
                    slot_dealing(config, request.slots, request.ranks).passes() > 1;
  std::vector<model::Write> out{model::Write::kSet};
  if (adds) out.push_back(model::Write::kAdd);
  return out;
}

/// Peak bytes of activations over the shapes, each run without data.
std::int64_t activation_bytes(const PlanRequest& request, Pass pass,
                              const std::vector<BatchShape>& shapes) {
  if (shapes.empty()) return 0;
  const bool apart =
      request.memory == runtime::DeviceMemory::kOwn && pass != Pass::kDecoding;  // the host decodes
  model::ComputeDevice device = model::host_compute(request.config.run);
  if (apart) device.memory = runtime::DeviceMemory::kOwn;
  device.fused_attention = device.fused_attention && (!apart || request.fused_attention);
  const model::GemmLibrary on_cpu = model::resolve_gemm(request.config.run.gemm);
  model::Transformer model({request.config.model, request.source_vocabulary,
                            request.target_vocabulary, request.longest, request.source_per_target},
                           apart ? request.gemm.value_or(on_cpu) : on_cpu,
                           model::Arithmetic::kShapesOnly, device);
  const FlatLayout layout(model.units(), 1);
  std::int64_t most = 0;
  const auto run = [&](const data::Batch& batch, model::Write write) {
    runtime::MemoryLedger ledger;
    const runtime::PlanningScope planning(ledger);
    const runtime::MemoryScope scope(MemoryClass::kActivations);
    PlannedSource source(layout, model::scalar_type(request.config.precision.dtype), write);
    ledger.restart();
    double loss = 0;
    if (pass == Pass::kTraining)
      model.train_slot(source, batch, {.label_smoothing = request.config.train.label_smoothing},
                       &loss);
    if (pass == Pass::kEvaluation && apart) model.evaluate(source, batch);
    if (pass == Pass::kEvaluation && !apart) (void)model.sentence_losses(source, batch);
    if (pass == Pass::kDecoding)
      model::plan_decoding(model, source, batch, model::search_options(request.config.decode));
    most = std::max(most, ledger.at_peak().total());
  };
  const std::vector<model::Write> writes =
      pass == Pass::kTraining ? gradient_writes(request) : std::vector{model::Write::kSet};
  for (const BatchShape& shape : shapes) {
    const data::Batch batch = planned_batch(shape);
    for (const model::Write write : writes) run(batch, write);
  }
  return most + model.constant_bytes();
}

/// The largest of the engine's calls to its transport.
runtime::LargestCalls largest_calls(const config::RunConfig& config, const FlatLayout& layout,
                                    const EngineBuffers& buffers) {
  const BufferTypes& types = buffers.types;
  const std::int64_t shard = layout.largest_unit() / layout.ranks();
  runtime::LargestCalls out;
  out.all_gather = shard * element_size(types.working);
  if (!zero_policy(config).shard_optimizer)
    out.all_gather = std::max(out.all_gather, shard * element_size(types.reduced));
  if (buffers.memory == runtime::DeviceMemory::kOwn)
    out.all_gather = std::max(out.all_gather, buffers.record * kDouble);
  if (config.comm.reduction == config::Reduction::kFast) {
    out.all_reduce = layout.largest_unit() * kFloat;
  } else {
    out.exchange = shard * element_size(types.reduced);
  }
  return out;
}

/// What copies of batches to a device take, there and again in pinned memory.
std::int64_t batch_copies(const PlanRequest& request) {
  constexpr auto kLeftOut = model::PackedRows::Places::kLeftOut;
  const model::AttentionCuts cuts = model::attention_cuts(
      {request.config.model, request.source_vocabulary, request.target_vocabulary, request.longest,
       request.source_per_target});
  std::int64_t most = 0;
  for (const std::vector<BatchShape>* shapes : {&request.training, &request.evaluation}) {
    for (const BatchShape& s : *shapes)
      most = std::max(most, model::BatchCopies::bytes({planned_batch(s), kLeftOut, cuts}));
  }
  return most;
}

}  // namespace

const MemoryPlan::Phase& MemoryPlan::host_peak() const {
  ensure(!phases.empty(), "MemoryPlan: no phases");
  return *std::max_element(phases.begin(), phases.end(), [](const Phase& a, const Phase& b) {
    return a.host.total() < b.host.total();
  });
}

const MemoryPlan::Phase* MemoryPlan::find(std::string_view name) const {
  const auto found = std::find_if(phases.begin(), phases.end(),
                                  [&](const Phase& phase) { return phase.name == name; });
  return found == phases.end() ? nullptr : &*found;
}

const MemoryPlan::Phase& MemoryPlan::peak() const {
  ensure(!phases.empty(), "MemoryPlan: no phases");
  return *std::max_element(phases.begin(), phases.end(), [](const Phase& a, const Phase& b) {
    return a.use.total() < b.use.total();
  });
}

namespace {

/// The fp32 elements of the largest unit's shard: what a load, and a save that training waits for,
/// hold beside the state.
std::int64_t largest_shard(const FlatLayout& layout) {
  std::int64_t most = 0;
  for (const FlatLayout::Unit& unit : layout.units()) most = std::max(most, unit.shard);
  return most;
}

/// Adds up what a rank holds throughout, then what each phase holds beside it.
class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanRequest& request)
      : request_(request),
        config_(request.config),
        shapes_({config_.model, request.source_vocabulary, request.target_vocabulary,
                 std::max<std::int64_t>(1, model::learned_positions(config_))},
                model::resolve_gemm(config_.run.gemm), model::Arithmetic::kShapesOnly),
        layout_(shapes_.units(), request.ranks),
        units_(unit_use(shapes_)),
        buffers_(engine_buffers(config_, layout_, units_, request.slots, request.memory)),
        nodes_(request.nodes ? *request.nodes : runtime::NodeMap(static_cast<int>(request.ranks))),
        sharded_(zero_policy(config_).shard_parameters),
        apart_(request.memory == runtime::DeviceMemory::kOwn),
        states_(1 + static_cast<std::int64_t>(buffers_.states)),
        constants_(model::table_bytes(config_.model, request.longest)) {}

  [[nodiscard]] MemoryPlan build() {
    count_traffic();
    share_once_a_node();
    hold_batches();
    hold_communication();
    add_training();
    add_validation();
    add_decoding();
    return std::move(plan_);
  }

 private:
  void count_traffic() {
    plan_.parameters = layout_.parameter_count();
    std::int64_t bytes = kFloat;  // of a parameter and its states
    for (std::size_t s = 0; s < buffers_.states; ++s) bytes += buffers_.state_element(s);
    plan_.checkpoint_bytes = bytes * plan_.parameters;
    plan_.update_operations = update_operations(config_, layout_);
    plan_.traffic = step_traffic(config_, layout_, units_, request_.slots);
    plan_.between_nodes =
        traffic_between_nodes(config_, layout_, units_, request_.slots, nodes_, request_.rank);
    if (!apart_) return;
    // Records of a step's end are gathered on the devices.
    for (StepTraffic* traffic : {&plan_.traffic, &plan_.between_nodes})
      traffic->all_gather += std::exchange(traffic->remainder, 0);
  }

  /// The buffers, and what of them the ranks of a node hold together.
  void share_once_a_node() {
    const bool shares = !apart_ && !request_.messages;
    const OnceANode once =
        shares ? once_a_node(config_, buffers_, layout_, nodes_, request_.shared_room)
               : OnceANode{};
    if (once.parameters && sharded_) gather_in_place(buffers_);
    const bool by_node = shares_by_node(config_, nodes_);
    if (by_node && !once.parameters) refuse_by_node(shares);
    if (by_node) hold_by_node(buffers_, nodes_.node_size(request_.rank));
    base_ = buffers_.use();
    own_host_ = buffers_.host_use();
    base_[MemoryClass::kActivations] = constants_;
    if (once.parameters && !sharded_ && !by_node)
      plan_.once_a_node += base_[MemoryClass::kParameters];
    if (once.states) plan_.once_a_node += base_[MemoryClass::kMaster] + base_.optimizer_states();
    if (shares && sharded_) plan_.once_a_node += base_[MemoryClass::kGatherSlots];
  }

  /// zero.partition=node where the ranks of a node can't share memory.
  [[noreturn]] void refuse_by_node(bool shares) const {
    const std::int64_t bytes =
        layout_.padded_total() * element_size(buffers_.types.working) / (std::int64_t{1} << 20);
    throw MemoryError(
        shares ? "zero.partition=node: the parameters, " + std::to_string(bytes) +
                     " MiB, do not fit into the shared memory (/dev/shm) of some node beside the "
                     "gradients; make it larger, or take zero.partition=world"
               : std::string("zero.partition=node: the ranks of a node share no memory here (GPUs, "
                             "or an MPI without shared windows); take zero.partition=world"));
  }

  void hold_batches() {
    host()[MemoryClass::kBatches] = request_.batch_bytes;
    if (!apart_) return;
    base_[MemoryClass::kBatches] = batch_copies(request_);
    own_host_[MemoryClass::kBatches] += batch_copies(request_);
  }

  void hold_communication() {
    std::int64_t& of_host = host()[MemoryClass::kCommunication];
    if (request_.transport) {
      const runtime::TransportMemory own = runtime::transport_memory(
          *request_.transport, request_.ranks, largest_calls(config_, layout_, buffers_));
      base_[MemoryClass::kCommunication] += own.device;
      of_host += own.host;
    }
    if (apart_ && request_.transport != runtime::Transport::kStaged) return;
    if (request_.messages) {
      of_host += layout_.largest_unit() * element_size(buffers_.types.reduced);
      return;
    }
    const NodeBuffers between =
        node_buffers(config_, layout_, request_.slots, nodes_, request_.rank);
    of_host += between.exchange;
    // On the host shards arrive where they are read.
    if (sharded_ && apart_) of_host += between.gather;
  }

  void add_training() {
    const std::int64_t unit_staging = largest_shard(layout_) * kFloat;
    if (request_.resumes) host_phase("resume", MemoryClass::kCheckpointStaging, unit_staging);
    if (request_.saves && config_.checkpoint.async)
      host()[MemoryClass::kCheckpointStaging] = states_ * layout_.shard_total() * kFloat;
    // At the end the run's parameters are read: of an average a slice, and its sum in fp64.
    const std::int64_t slices = config_.checkpoint.average_last > 0 ? 3
                                : config_.checkpoint.keep_best > 0  ? 1
                                                                    : 0;
    if (request_.saves && slices > 0)
      host_phase("final", MemoryClass::kCheckpointStaging, slices * unit_staging);
    host_phase("update", MemoryClass::kCommunication, buffers_.records_at_end() * kDouble);
    const auto matrices = whole_matrices(config_, layout_);
    const std::int64_t whole = whole_matrix_floats(config_, matrices, request_.rank) * kFloat;
    if (whole >= static_cast<std::int64_t>(runtime::MemoryLedger::kSmallest))
      host_phase("whole tensors", MemoryClass::kCommunication,
                 whole + WholeUpdate::product_bytes(config_, matrices, request_.rank));
    if (request_.saves && !config_.checkpoint.async)
      host_phase("checkpoint", MemoryClass::kCheckpointStaging, unit_staging);
    if (request_.training.empty()) return;
    phase("training", MemoryClass::kActivations,
          activation_bytes(request_, Pass::kTraining, request_.training) - constants_);
  }

  void add_validation() {
    if (request_.evaluation.empty()) return;
    phase("validation", MemoryClass::kActivations,
          activation_bytes(request_, Pass::kEvaluation, request_.evaluation) - constants_);
    add_to_host(MemoryClass::kBatches, request_.evaluation_batch_bytes);
  }

  /// Sentences are decoded with all parameters. A CPU that holds them reads them where they lie;
  /// else they are copied first, at stage 3 through a buffer of one unit. In lock step nothing is
  /// copied but, beside a device, the units in use.
  void add_decoding() {
    if (!request_.decodes && request_.decoding.empty()) return;
    if (decodes_sharded(config_)) return add_lock_step();
    const std::int64_t working = element_size(buffers_.types.working);
    const bool copies = sharded_ || apart_;
    const std::int64_t whole = copies ? FlatLayout(shapes_.units(), 1).padded_total() * working : 0;
    if (copies) {
      phase("gathering", MemoryClass::kGatherSlots,
            sharded_ && !buffers_.gathers_in_place ? layout_.largest_unit() * working : 0);
      add_to_host(MemoryClass::kGatherSlots, whole);
      add_to_host(MemoryClass::kBatches, request_.evaluation_batch_bytes);
    }
    if (request_.decoding.empty()) return;
    // A GPU's host has a table of positions of its own for it.
    host_phase(
        "decoding", MemoryClass::kActivations,
        activation_bytes(request_, Pass::kDecoding, request_.decoding) - (apart_ ? 0 : constants_));
    add_to_host(MemoryClass::kBatches, request_.evaluation_batch_bytes);
    add_to_host(MemoryClass::kGatherSlots, whole);
  }

  void add_lock_step() {
    const std::vector<BatchShape> parts = parts_of(request_.decoding, request_.decoded_together);
    const std::int64_t activations =
        parts.empty()
            ? 0
            : activation_bytes(request_, Pass::kDecoding, parts) - (apart_ ? 0 : constants_);
    host_phase("decoding", MemoryClass::kActivations, activations);
    add_to_host(MemoryClass::kBatches, request_.evaluation_batch_bytes);
    if (apart_) {
      add_to_host(MemoryClass::kGatherSlots,
                  host_places(FlatLayout(shapes_.units(), 1), units_).total *
                      element_size(buffers_.types.working));
    }
  }

  /// What the host holds throughout: a CPU run has one memory.
  [[nodiscard]] MemoryUse& host() { return apart_ ? own_host_ : base_; }

  /// A phase that holds so much more where the tensors are, or on the host.
  void phase(const char* name, MemoryClass kind, std::int64_t bytes) {
    plan_.phases.push_back({name, base_, own_host_});
    plan_.phases.back().use[kind] += bytes;
  }
  void host_phase(const char* name, MemoryClass kind, std::int64_t bytes) {
    phase(name, kind, 0);
    add_to_host(kind, bytes);
  }
  void add_to_host(MemoryClass kind, std::int64_t bytes) {
    MemoryPlan::Phase& last = plan_.phases.back();
    (apart_ ? last.host : last.use)[kind] += bytes;
  }

  const PlanRequest& request_;
  const config::RunConfig& config_;
  model::Transformer shapes_;
  FlatLayout layout_;
  UnitUse units_;
  EngineBuffers buffers_;
  runtime::NodeMap nodes_;
  bool sharded_;               ///< parameters are
  bool apart_;                 ///< tensors are in memory of a device's own
  std::int64_t states_;        ///< weights and the optimizer's states
  std::int64_t constants_;     ///< bytes of the position table
  MemoryUse base_, own_host_;  ///< held throughout where the tensors are, and on a device's host
  MemoryPlan plan_;
};

}  // namespace

bool decodes_sharded(const config::RunConfig& config) {
  return config.decode.sharded == config::Sharded::kOn && zero_policy(config).shard_parameters;
}

MemoryPlan plan_memory(const PlanRequest& request) { return PlanBuilder(request).build(); }

}  // namespace th::zero
