#include "zero/roles/step_end.hpp"

#include "th/base/error.hpp"
#include "th/zero/optimizer.hpp"

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace th::zero {

using runtime::FlightRecord;
using runtime::MemoryClass;

StepEnd::StepEnd(const EngineFrame& frame, bool reduction_makes_norms)
    : frame_(frame), reduction_makes_norms_(reduction_makes_norms) {}

void StepEnd::conclude(const StepRequest& request, const GradientReducer& gradients) {
  ensure(std::ssize(ended_) < EngineBuffers::kOutcomes,
         "ZeroEngine: too many results wait to be taken");
  const FlightRecord::Scope event(frame_.flight, frame_.compute, FlightRecord::What::kNorm,
                                  FlightRecord::On::kCompute, FlightRecord::kNone);
  find_outcome(request, gradients, ended_.emplace_back());
}

void StepEnd::sum_squares(const GradientReducer& gradients) {
  if (reduction_makes_norms_) return;
  const ElementType reduced = frame_.buffers.types.reduced;
  for (std::int64_t u = 0; u < frame_.units(); ++u) {
    const FlatLayout::Unit& unit = frame_.unit(u);
    const std::int64_t blocks = unit.shard / FlatLayout::kBlock;
    const std::byte* gradient = gradients.reduced(u);
    double* out = record() + unit.shard_offset / FlatLayout::kBlock;
    frame_.compute.enqueue("norm",
                           [&frame = frame_, gradient, reduced, blocks, out] {
                             frame.device.block_square_sums(frame.compute, gradient, reduced,
                                                            blocks, out);
                           },
                           {runtime::reads(gradient, unit.shard * element_size(reduced)),
                            runtime::writes(out, blocks * kDouble)});
  }
}

void StepEnd::enqueue_outcome(const StepRequest& request, const GradientReducer& gradients,
                              const double* records, runtime::StepOutcome* outcome) {
  const EngineBuffers& b = frame_.buffers;
  const auto units = std::make_shared<std::vector<runtime::StepRecords::Unit>>();
  for (std::int64_t u = 0; u < frame_.units(); ++u) {
    const FlatLayout::Unit& unit = frame_.unit(u);
    const std::byte* gradient = gradients.reduced(u);
    units->push_back(
        {unit.shard_offset / FlatLayout::kBlock, unit.shard / FlatLayout::kBlock, gradient});
    frame_.compute.touch("end of a step",
                         {runtime::reads(gradient, unit.shard * element_size(b.types.reduced))});
  }
  runtime::StepRecords all;
  all.type = b.types.reduced;
  all.records = records;
  all.record = b.record;
  all.losses = b.shard_blocks;
  all.rank = frame_.rank;
  all.ranks = frame_.ranks;
  all.dealing = frame_.dealing;
  all.clip = frame_.config.train.gradient_clip;
  all.loss_scale = request.loss_scale;
  all.outcome = outcome;
  frame_.compute.enqueue("end of a step",
                         [&frame = frame_, all, units]() mutable {
                           all.units = *units;
                           frame.device.end_step(frame.compute, all);
                         },
                         {runtime::reads(records, b.record * frame_.ranks * kDouble),
                          runtime::writes(outcome, sizeof(runtime::StepOutcome))});
}

void StepEnd::arrive(Ended& ended) {
  if (ended.arriving == nullptr) return;
  const FlightRecord::HostScope event(*frame_.flight, FlightRecord::What::kResult);
  runtime::Stream& host = frame_.device.host();
  host.wait(ended.arrived);
  host.touch("read an outcome", {runtime::reads(ended.arriving, sizeof(runtime::StepOutcome))});
  ended.outcome = *std::exchange(ended.arriving, nullptr);
}

const runtime::StepOutcome& StepEnd::last() {
  ensure(!ended_.empty(), "ZeroEngine: no step has ended");
  arrive(ended_.back());
  return ended_.back().outcome;
}

StepResult StepEnd::result() {
  ensure(!ended_.empty(), "ZeroEngine: no step has ended");
  Ended ended = ended_.front();
  ended_.pop_front();
  arrive(ended);
  StepResult result{ended.outcome.loss_sum, ended.outcome.grad_norm, {}};
  if (!std::isfinite(result.grad_norm)) result.not_finite = first_not_finite(ended.outcome);
  return result;
}

std::string StepEnd::first_not_finite(const runtime::StepOutcome& outcome) {
  constexpr std::int64_t kNone = std::int64_t{1} << 62;
  const std::vector<FlatLayout::Tensor>& tensors = frame_.layout.tensors();
  std::int64_t found = kNone;  // tensor, in the layout's order
  if (outcome.bad_element >= 0) {
    for (std::int64_t t = 0; t < std::ssize(tensors); ++t) {
      const FlatLayout::Tensor& tensor = tensors[index(t)];
      if (tensor.unit == outcome.bad_unit && tensor.offset <= outcome.bad_element) found = t;
    }
  }
  const std::int64_t first = -frame_.collectives.control().maximum(-found);
  return first == kNone ? std::string("the gradient's norm") : tensors[index(first)].spec.name;
}

namespace {

/// On the host: the outcome is there when the call returns.
class HostStepEnd final : public StepEnd {
 public:
  explicit HostStepEnd(const EngineFrame& frame)
      : StepEnd(frame, frame.config.comm.reduction == config::Reduction::kExact),
        record_(take_block(frame, MemoryClass::kCommunication, frame.buffers.record * kDouble)) {}

  bool runs_ahead() const noexcept override { return false; }
  const runtime::StepOutcome* on_device() const noexcept override { return nullptr; }

 private:
  double* record() override { return record_.as<double>(); }
  void find_outcome(const StepRequest& request, const GradientReducer& gradients,
                    Ended& ended) override {
    const runtime::MemoryScope scope(MemoryClass::kCommunication);
    const std::int64_t record_size = frame_.buffers.record;
    std::vector<double> all(index(frame_.buffers.records));
    sum_squares(gradients);
    frame_.compute.touch("record", {runtime::reads(record(), record_size * kDouble)});
    frame_.collectives.control().all_gather_doubles({record(), index(record_size)}, all);
    enqueue_outcome(request, gradients, all.data(), &ended.outcome);
  }

  runtime::DeviceBlock record_;
};

/// On a device with memory of its own: everything is enqueued, and the outcome is copied to pinned
/// host memory.
class DeviceStepEnd final : public StepEnd {
 public:
  explicit DeviceStepEnd(const EngineFrame& frame) : StepEnd(frame, false) {
    const EngineBuffers& b = frame.buffers;
    const runtime::MemoryScope scope(MemoryClass::kCommunication);
    record_ = frame.collectives.allocate(b.record * kDouble);
    records_ = runtime::DeviceBlock(frame.device, runtime::Place::kDevice, b.records * kDouble);
    outcome_ =
        runtime::DeviceBlock(frame.device, runtime::Place::kDevice, sizeof(runtime::StepOutcome));
    read_outcomes_ =
        runtime::DeviceBlock(frame.device, runtime::Place::kHost,
                             EngineBuffers::kOutcomes * std::int64_t{sizeof(runtime::StepOutcome)});
  }

  bool runs_ahead() const noexcept override { return !frame_.buffers.optimizer_on_host; }
  const runtime::StepOutcome* on_device() const noexcept override {
    return outcome_.as<runtime::StepOutcome>();
  }

 private:
  double* record() override { return record_->as<double>(); }
  void find_outcome(const StepRequest& request, const GradientReducer& gradients,
                    Ended& ended) override {
    sum_squares(gradients);
    enqueue_outcome(request, gradients, gather_records(), outcome_.as<runtime::StepOutcome>());
    auto* to = read_outcomes_.as<runtime::StepOutcome>() + ends_++ % EngineBuffers::kOutcomes;
    frame_.compute.copy(to, outcome_.data(), sizeof(runtime::StepOutcome));
    ended.arriving = to;
    ended.arrived = frame_.compute.record();
  }
  /// All ranks' records, in device memory.
  [[nodiscard]] const double* gather_records() {
    if (frame_.ranks == 1) return record();
    const std::int64_t bytes = frame_.buffers.record * kDouble;
    runtime::Stream& communication = frame_.communication;
    communication.wait(frame_.compute.record());
    communication.enqueue("gather of records",
                          [this, bytes] {
                            frame_.collectives.all_gather(*record_, {0, bytes, 0}, records_.data());
                          },
                          {runtime::reads(record_->data(), bytes),
                           runtime::writes(records_.data(), bytes * frame_.ranks)});
    frame_.compute.wait(communication.record());
    communication.run_bodies();
    return records_.as<double>();
  }

  std::unique_ptr<runtime::TransportBuffer> record_;  ///< fp64: this rank's
  runtime::DeviceBlock records_;                      ///< fp64: all ranks'
  runtime::DeviceBlock outcome_;                      ///< of the last step
  runtime::DeviceBlock read_outcomes_;  ///< pinned: those on their way to the host, in turn
  std::int64_t ends_ = 0;               ///< steps that ended
};

}  // namespace

std::unique_ptr<StepEnd> StepEnd::make(const EngineFrame& frame) {
  if (frame.buffers.memory == runtime::DeviceMemory::kHost)
    return std::make_unique<HostStepEnd>(frame);
  return std::make_unique<DeviceStepEnd>(frame);
}

}  // namespace th::zero
