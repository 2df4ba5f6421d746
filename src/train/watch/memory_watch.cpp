#include "th/train/watch/memory_watch.hpp"

#include "th/base/counted.hpp"
#include "th/base/error.hpp"
#include "th/config/state_names.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/resource_usage.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace th::train {

std::int64_t ledger_bytes(const data::Batch& batch) {
  std::int64_t bytes = 0;
  for (const auto* ids : {&batch.source, &batch.target_in, &batch.target_out}) {
    const std::size_t size = ids->size() * sizeof(ids->front());
    if (size >= runtime::MemoryLedger::kSmallest) bytes += static_cast<std::int64_t>(size);
  }
  return bytes;
}

zero::BatchShape shape_of(const data::Batch& batch) {
  return {batch.source_lengths, batch.target_lengths};
}

zero::BatchShape decoding_shape(const zero::BatchShape& shape, std::int64_t length) {
  return {shape.source_lengths(),
          std::vector<std::int32_t>(static_cast<std::size_t>(shape.sentences()),
                                    static_cast<std::int32_t>(length))};
}

void MemoryWatch::saw_training(const std::vector<data::Batch>& rounds, std::int64_t waiting) {
  std::int64_t bytes = 0;
  for (const data::Batch& batch : rounds) {
    bytes += ledger_bytes(batch);
    data::keep_largest(request_.training, shape_of(batch));
  }
  waiting_bytes_ = std::max(waiting_bytes_, bytes * waiting);
  request_.batch_bytes = waiting_bytes_ + audited_bytes_;
}

void MemoryWatch::saw_audit(const data::Batch& batch) {
  data::keep_largest(request_.training, shape_of(batch));
  audited_bytes_ = std::max(audited_bytes_, ledger_bytes(batch));
  request_.batch_bytes = waiting_bytes_ + audited_bytes_;
}

void MemoryWatch::saw_evaluation(std::vector<zero::BatchShape> shapes, std::int64_t batch_bytes) {
  for (const zero::BatchShape& shape : shapes) data::keep_largest(request_.evaluation, shape);
  request_.evaluation_batch_bytes = std::max(request_.evaluation_batch_bytes, batch_bytes);
}

void MemoryWatch::saw_decoding(std::vector<zero::BatchShape> shapes, std::int64_t batch_bytes,
                               std::int64_t length) {
  request_.decodes = true;
  for (const zero::BatchShape& shape : shapes)
    data::keep_largest(request_.decoding, decoding_shape(shape, length));
  request_.evaluation_batch_bytes = std::max(request_.evaluation_batch_bytes, batch_bytes);
}

std::string plan_against_measurement(const runtime::MemoryUse& planned,
                                     const runtime::MemoryUse& measured,
                                     runtime::StateNames states) {
  const auto percent = [](std::int64_t plan, std::int64_t seen) {
    std::array<char, 32> text{};
    std::snprintf(
        text.data(), text.size(), "%+.1f %%",
        100.0 * (static_cast<double>(seen) / std::max(1.0, static_cast<double>(plan)) - 1.0));
    return std::string(text.data());
  };
  std::string text = "planned " + monitor::bytes_text(planned.total()) + ", measured " +
                     monitor::bytes_text(measured.total()) + " (" +
                     percent(planned.total(), measured.total()) + ")";
  const char* separator = ": ";
  for (std::size_t k = 0; k < runtime::kMemoryClasses; ++k) {
    if (planned.bytes[k] == 0 && measured.bytes[k] == 0) continue;
    // Blocks of before the count that went away.
    const std::int64_t seen = std::max<std::int64_t>(0, measured.bytes[k]);
    text += separator +
            std::string(runtime::memory_class_name(static_cast<runtime::MemoryClass>(k), states)) +
            " " + monitor::bytes_text(planned.bytes[k]) + " / " + monitor::bytes_text(seen) +
            (planned.bytes[k] > 0 ? " (" + percent(planned.bytes[k], seen) + ")" : "");
    separator = ", ";
  }
  return text;
}

namespace {

/// "1.13 GiB (parameters 113.51 MiB, …)".
std::string classes_of(const runtime::MemoryUse& use, runtime::StateNames states) {
  std::string text = monitor::bytes_text(use.total()) + " (";
  const char* separator = "";
  for (std::size_t k = 0; k < runtime::kMemoryClasses; ++k) {
    if (use.bytes[k] == 0) continue;
    text += separator +
            std::string(runtime::memory_class_name(static_cast<runtime::MemoryClass>(k), states)) +
            " " + monitor::bytes_text(use.bytes[k]);
    separator = ", ";
  }
  return text + ")";
}

/// Whether `ranks_here` ranks that take so many bytes by the plan have room; `available` 0: not
/// known.
bool node_holds(const zero::MemoryPlan& plan, std::int64_t bytes, std::int64_t ranks_here,
                std::int64_t available) {
  return available == 0 || plan.of_node(bytes, ranks_here) * ranks_here <= available;
}

}  // namespace

std::int64_t bytes_without_room(const zero::PlanRequest& request, std::int64_t ranks_here,
                                std::int64_t available) {
  const zero::MemoryPlan plan = zero::plan_memory(request);
  const std::int64_t host = request.memory == runtime::DeviceMemory::kOwn
                                ? plan.host_peak().host.total()
                                : plan.peak().use.total();
  const std::optional<std::int64_t> mapped = runtime::address_space_left();
  return node_holds(plan, host, ranks_here, available) && (!mapped || host <= *mapped) ? 0 : host;
}

void require_room(const zero::PlanRequest& request, std::int64_t ranks_here, std::int64_t available,
                  std::int64_t gpu_free) {
  const zero::MemoryPlan plan = zero::plan_memory(request);
  const bool on_gpu = request.memory == runtime::DeviceMemory::kOwn;
  const runtime::MemoryUse host = on_gpu ? plan.host_peak().host : plan.peak().use;
  const std::vector<const char*> states = config::state_names(request.config);
  if (!node_holds(plan, host.total(), ranks_here, available)) {
    throw MemoryError(
        "the run does not fit into the memory of " + runtime::hostname() + ": " +
        counted(ranks_here, "rank") + (ranks_here == 1 ? " there needs " : " there need each ") +
        classes_of(host, states) +
        (plan.once_a_node > 0
             ? ", of which " + monitor::bytes_text(plan.once_a_node) + " once a node, "
             : ", ") +
        monitor::bytes_text(available) +
        " are to be had; take a smaller micro-batch, model.gradient_checkpointing=full, a higher "
        "zero.stage, or fewer ranks on a node: th_app "
        "DECK --plan shows what each saves");
  }
  if (on_gpu && gpu_free > 0 && plan.peak().use.total() > gpu_free) {
    throw MemoryError("the run does not fit into a GPU of " + runtime::hostname() +
                      ": a rank needs " + classes_of(plan.peak().use, states) + ", " +
                      monitor::bytes_text(gpu_free) +
                      " are free; take zero.offload_optimizer=true, a smaller micro-batch, "
                      "model.gradient_checkpointing=full or a higher zero.stage: th_app "
                      "DECK --plan shows what each saves");
  }
}

}  // namespace th::train
