#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/batch.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/zero/memory_plan.hpp"

namespace th::train {

/// Records what a run did that takes memory, and plans it afterwards: the plan for the largest
/// batches that this rank had can be compared with what the ledger measured. Not collective.
class MemoryWatch {
 public:
  /// `request` has everything but the batches.
  explicit MemoryWatch(zero::PlanRequest request) : request_(std::move(request)) {}

  /// Records a step's batches; `waiting` steps of this size are in memory at once.
  void saw_training(const std::vector<data::Batch>& rounds, std::int64_t waiting);
  /// Records a micro-batch that an audit computed on this rank, beside those that wait.
  void saw_audit(const data::Batch& batch);
  void saw_evaluation(std::vector<zero::BatchShape> shapes, std::int64_t batch_bytes);
  /// Records decoding to at most `length` ids.
  void saw_decoding(std::vector<zero::BatchShape> shapes, std::int64_t batch_bytes,
                    std::int64_t length);
  void saw_save() { request_.saves = true; }
  void saw_resume() { request_.resumes = true; }

  [[nodiscard]] zero::MemoryPlan plan() const { return zero::plan_memory(request_); }

 private:
  zero::PlanRequest request_;
  std::int64_t waiting_bytes_ = 0, audited_bytes_ = 0;  ///< of training's batches
};

/// The bytes that a rank takes of its node's memory by the plan of `request`, if `ranks_here` such
/// ranks take more than the `available` bytes (0: not known), or a rank more than its address
/// space. 0: everything fits.
[[nodiscard]] std::int64_t bytes_without_room(const zero::PlanRequest& request,
                                              std::int64_t ranks_here, std::int64_t available);

/// Checks before anything is allocated. Throws MemoryError if `ranks_here` ranks that do what
/// `request` says take more than the `available` bytes of this node's host memory, or if this rank
/// takes more than the `gpu_free` bytes of its GPU (other ranks on that GPU are not counted). 0:
/// not known, not checked. The message has the amounts by class and the way out.
void require_room(const zero::PlanRequest& request, std::int64_t ranks_here, std::int64_t available,
                  std::int64_t gpu_free);

/// Bytes of a batch's vectors that the ledger counts.
[[nodiscard]] std::int64_t ledger_bytes(const data::Batch& batch);
[[nodiscard]] zero::BatchShape shape_of(const data::Batch& batch);
/// The shape of the same sources with translations of `length` ids.
[[nodiscard]] zero::BatchShape decoding_shape(const zero::BatchShape& shape, std::int64_t length);
/// "planned 12.00 MiB, measured 12.10 MiB (+0.8 %): parameters 4.00 / 4.00 MiB, …", without classes
/// that are empty on both sides. `states`: the names of the optimizer's states.
[[nodiscard]] std::string plan_against_measurement(const runtime::MemoryUse& planned,
                                                   const runtime::MemoryUse& measured,
                                                   runtime::StateNames states);

}  // namespace th::train
