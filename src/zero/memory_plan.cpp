#include "th/zero/memory_plan.hpp"

#include "th/base/error.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/model/memory/batch_copies.hpp"
#include "th/model/ops/element.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace th::zero {

namespace {

using runtime::MemoryClass;
using runtime::MemoryUse;

/// Units whose tensors have shapes and addresses, and no memory.
class PlannedSource final : public model::ParameterSource {
 public:
  PlannedSource(const FlatLayout& layout, at::ScalarType type) {
    for (const FlatLayout::Unit& unit : layout.units()) {
      model::UnitTensors tensors;
      for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
        const auto& shape = layout.tensors()[static_cast<std::size_t>(t)].spec.shape;
        tensors.values.push_back(at::empty(shape, at::TensorOptions().dtype(type)));
        tensors.gradients.push_back(at::empty(shape, at::TensorOptions().dtype(at::kFloat)));
      }
      units_.push_back(std::move(tensors));
    }
  }
  const model::UnitTensors& open_forward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_forward(std::int64_t) override {}
  model::UnitTensors& open_backward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_backward(std::int64_t) override {}

 private:
  std::vector<model::UnitTensors> units_;
};

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

/// Peak bytes of activations over the shapes, each run without data.
std::int64_t activation_bytes(const PlanRequest& request, Pass pass,
                              const std::vector<BatchShape>& shapes) {
  if (shapes.empty()) return 0;
  const bool apart =
      request.memory == DeviceMemory::kOwn && pass != Pass::kDecoding;  // the host decodes
  model::ComputeDevice device = model::host_compute(request.config.run);
  if (apart) device.memory = model::ComputeDevice::Memory::kOwn;
  device.fused_attention = device.fused_attention && (!apart || request.fused_attention);
  const model::GemmLibrary on_cpu = model::resolve_gemm(request.config.run.gemm);
  model::Transformer model(
      {request.config.model, request.source_vocabulary, request.target_vocabulary, request.longest},
      apart ? request.gemm.value_or(on_cpu) : on_cpu, model::Arithmetic::kShapesOnly, device);
  const FlatLayout layout(model.units(), 1);
  std::int64_t most = 0;
  for (const BatchShape& shape : shapes) {
    const data::Batch batch = planned_batch(shape);
    runtime::MemoryLedger ledger;
    const runtime::PlanningScope planning(ledger);
    const runtime::MemoryScope scope(MemoryClass::kActivations);
    PlannedSource source(layout, model::scalar_type(request.config.precision.dtype));
    ledger.restart();
    double loss = 0;
    if (pass == Pass::kTraining)
      model.train_slot(source, batch, {.label_smoothing = request.config.train.label_smoothing},
                       &loss);
    if (pass == Pass::kEvaluation) model.evaluate(source, batch);
    if (pass == Pass::kDecoding)
      model::plan_decoding(model, source, batch, request.config.decode.beam);
    most = std::max(most, ledger.at_peak().total());
  }
  return most + model.constant_bytes();
}

/// The largest of the engine's calls to its transport.
runtime::LargestCalls largest_calls(const config::RunConfig& config, const FlatLayout& layout,
                                    const EngineBuffers& buffers) {
  const BufferTypes& types = buffers.types;
  const std::int64_t shard = layout.largest_unit() / layout.ranks();
  runtime::LargestCalls out;
  out.all_gather = words(shard, types.working);
  if (!zero_policy(config.zero.stage).shard_optimizer)
    out.all_gather = std::max(out.all_gather, words(shard, types.reduced));
  if (buffers.memory == DeviceMemory::kOwn)
    out.all_gather = std::max(out.all_gather, 2 * buffers.record);  // words of its doubles
  if (config.comm.reduction == config::Reduction::kFast) {
    out.all_reduce = layout.largest_unit();
  } else {
    out.exchange = words(shard, types.reduced);
  }
  return out;
}

/// What copies of batches to a device take, there and again in pinned memory.
std::int64_t batch_copies(const PlanRequest& request) {
  std::int64_t most = 0;
  for (const std::vector<BatchShape>* shapes : {&request.training, &request.evaluation}) {
    for (const BatchShape& s : *shapes)
      most = std::max(
          most, model::BatchCopies::bytes(s.sentences(), s.source_tokens(), s.target_tokens()));
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

const MemoryPlan::Phase& MemoryPlan::peak() const {
  ensure(!phases.empty(), "MemoryPlan: no phases");
  return *std::max_element(phases.begin(), phases.end(), [](const Phase& a, const Phase& b) {
    return a.use.total() < b.use.total();
  });
}

MemoryPlan plan_memory(const PlanRequest& request) {
  constexpr std::int64_t kFloat = 4, kDouble = 8;
  const config::RunConfig& config = request.config;
  const model::Transformer shapes(
      {config.model, request.source_vocabulary, request.target_vocabulary, 1},
      model::resolve_gemm(config.run.gemm), model::Arithmetic::kShapesOnly);
  const FlatLayout layout(shapes.units(), request.ranks);
  const UnitUse units = unit_use(shapes);
  EngineBuffers buffers = engine_buffers(config, layout, units, request.slots, request.memory);
  const std::int64_t states = 1 + static_cast<std::int64_t>(buffers.states);
  const std::int64_t staging = states * layout.shard_total() * kFloat;
  std::int64_t unit_staging = 0;  // of the largest unit's slice: what a load, and a save that
                                  // training waits for, hold beside the state
  for (const FlatLayout::Unit& unit : layout.units())
    unit_staging = std::max(unit_staging, unit.shard * kFloat);
  const std::int64_t constants = request.longest * config.model.d_model * kFloat;

  MemoryPlan plan;
  plan.parameters = layout.parameter_count();
  plan.checkpoint_bytes = states * plan.parameters * kFloat;
  plan.traffic = step_traffic(config, layout, units, request.slots);
  const runtime::NodeMap nodes =
      request.nodes ? *request.nodes : runtime::NodeMap(static_cast<int>(request.ranks));
  plan.between_nodes =
      traffic_between_nodes(config, layout, units, request.slots, nodes, request.rank);
  if (request.memory ==
      DeviceMemory::kOwn) {  // records of a step's end are gathered on the devices
    for (StepTraffic* traffic : {&plan.traffic, &plan.between_nodes})
      traffic->all_gather += std::exchange(traffic->remainder, 0);
  }
  const bool sharded = zero_policy(config.zero.stage).shard_parameters;
  const bool shares = request.memory == DeviceMemory::kHost && !request.messages;
  const OnceANode once =
      shares ? once_a_node(config, buffers, layout, nodes, request.shared_room) : OnceANode{};
  if (once.parameters && sharded) gather_in_place(buffers);
  MemoryUse base = buffers.use(), own_host = buffers.host_use();
  if (once.parameters && !sharded) plan.once_a_node += base[MemoryClass::kParameters];
  if (once.states) plan.once_a_node += base[MemoryClass::kMaster] + base.optimizer_states();
  if (shares && sharded) plan.once_a_node += base[MemoryClass::kGatherSlots];
  MemoryUse& host =
      request.memory == DeviceMemory::kOwn ? own_host : base;  // a CPU run has one memory
  host[MemoryClass::kBatches] = request.batch_bytes;
  const bool apart = request.memory == DeviceMemory::kOwn;
  if (apart) {
    base[MemoryClass::kBatches] = batch_copies(request);
    own_host[MemoryClass::kBatches] += batch_copies(request);
  }
  base[MemoryClass::kActivations] = constants;
  const std::int64_t working = element_bytes(buffers.types.working);
  const bool through_host =
      request.memory == DeviceMemory::kHost || request.transport == runtime::Transport::kStaged;
  if (request.transport) {
    const runtime::TransportMemory own = runtime::transport_memory(
        *request.transport, request.ranks, largest_calls(config, layout, buffers));
    base[MemoryClass::kCommunication] += own.device;
    host[MemoryClass::kCommunication] += own.host;
  }
  if (request.messages && through_host) {
    host[MemoryClass::kCommunication] +=
        layout.largest_unit() * element_bytes(buffers.types.reduced);
  } else if (through_host) {
    const NodeBuffers between = node_buffers(config, layout, request.slots, nodes, request.rank);
    host[MemoryClass::kCommunication] += between.exchange;
    if (sharded && apart)
      host[MemoryClass::kCommunication] +=
          between.gather;  // on the host shards arrive where they are read
  }
  const auto phase = [&](const char* name, MemoryClass kind, std::int64_t bytes) {
    plan.phases.push_back({name, base, own_host});
    plan.phases.back().use[kind] += bytes;
  };
  const auto of_host = [&](MemoryClass kind, std::int64_t bytes) {
    (apart ? plan.phases.back().host : plan.phases.back().use)[kind] += bytes;
  };
  const auto host_phase = [&](const char* name, MemoryClass kind, std::int64_t bytes) {
    phase(name, kind, 0);
    of_host(kind, bytes);
  };
  if (request.resumes) host_phase("resume", MemoryClass::kCheckpointStaging, unit_staging);
  if (request.saves && config.checkpoint.async) host[MemoryClass::kCheckpointStaging] = staging;
  host_phase("update", MemoryClass::kCommunication, buffers.records_at_end() * kDouble);
  if (request.saves && !config.checkpoint.async)
    host_phase("checkpoint", MemoryClass::kCheckpointStaging, unit_staging);
  if (!request.training.empty())
    phase("training", MemoryClass::kActivations,
          activation_bytes(request, Pass::kTraining, request.training) - constants);
  if (!request.evaluation.empty()) {
    phase("validation", MemoryClass::kActivations,
          activation_bytes(request, Pass::kEvaluation, request.evaluation) - constants);
    of_host(MemoryClass::kBatches, request.evaluation_batch_bytes);
  }
  if (!request.decoding.empty()) {
    const FlatLayout whole(shapes.units(), 1);
    // First the parameters are copied, at stage 3 through a buffer of one unit, then sentences are
    // decoded.
    phase("gathering", MemoryClass::kGatherSlots,
          sharded && !buffers.gathers_in_place ? layout.largest_unit() * working : 0);
    of_host(MemoryClass::kGatherSlots, whole.padded_total() * working);
    of_host(MemoryClass::kBatches, request.evaluation_batch_bytes);
    // A GPU's host has a table of positions of its own for it.
    host_phase(
        "decoding", MemoryClass::kActivations,
        activation_bytes(request, Pass::kDecoding, request.decoding) - (apart ? 0 : constants));
    of_host(MemoryClass::kBatches, request.evaluation_batch_bytes);
    of_host(MemoryClass::kGatherSlots, whole.padded_total() * working);
  }
  return plan;
}

}  // namespace th::zero
