#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "th/zero/step.hpp"
#include "zero/roles/engine_frame.hpp"
#include "zero/roles/gradient_reducer.hpp"

namespace th::zero {

/// The end of a step: every rank's record (norms of its blocks, losses of its slots) becomes the
/// outcome, which is the loss, the norm and the factor of the update. On a device with memory of
/// its own the outcome is enqueued, and the host may read it later.
class StepEnd {
 public:
  /// Collective.
  [[nodiscard]] static std::unique_ptr<StepEnd> make(const EngineFrame& frame);
  virtual ~StepEnd() = default;
  StepEnd(const StepEnd&) = delete;
  StepEnd& operator=(const StepEnd&) = delete;

  /// No slot of the step has a loss.
  void begin() { frame_.compute.clear(losses(), frame_.rounds * kDouble); }
  /// Where this rank's slots leave their losses, by round.
  [[nodiscard]] double* losses() { return record() + frame_.buffers.shard_blocks; }
  /// Where an exact reduction leaves the norms of the blocks that it sums; null: this makes them.
  [[nodiscard]] double* norms_of_reduction() { return reduction_makes_norms_ ? record() : nullptr; }

  /// Enqueues the outcome of the rounds. Collective.
  void conclude(const StepRequest& request, const GradientReducer& gradients);
  /// Whether an update may follow the outcome while the host waits for nothing: it is the device's.
  [[nodiscard]] virtual bool runs_ahead() const noexcept = 0;
  /// The last outcome in the device's memory, for such an update.
  [[nodiscard]] virtual const runtime::StepOutcome* on_device() const noexcept = 0;
  /// The last outcome on the host; waits.
  [[nodiscard]] const runtime::StepOutcome& last();
  /// Waits for the earliest outcome that nobody took, and takes it. Collective.
  [[nodiscard]] StepResult result();

 protected:
  /// A step whose result nobody took.
  struct Ended {
    runtime::StepOutcome outcome;
    const runtime::StepOutcome* arriving = nullptr;  ///< where it will be found; null: it is here
    runtime::Event arrived;
  };
  StepEnd(const EngineFrame& frame, bool reduction_makes_norms);
  /// This rank's record in the making: norms of its blocks, then losses of its slots.
  [[nodiscard]] virtual double* record() = 0;
  /// Gathers all ranks' records and enqueues their outcome.
  virtual void find_outcome(const StepRequest& request, const GradientReducer& gradients,
                            Ended& ended) = 0;
  /// Enqueues the sums of squares of this rank's blocks into its record, where no reduction does.
  void sum_squares(const GradientReducer& gradients);
  /// Enqueues the outcome of `records` into `outcome`, both in device memory.
  void enqueue_outcome(const StepRequest& request, const GradientReducer& gradients,
                       const double* records, runtime::StepOutcome* outcome);

  const EngineFrame& frame_;

 private:
  void arrive(Ended& ended);
  [[nodiscard]] std::string first_not_finite(const runtime::StepOutcome& outcome);

  bool reduction_makes_norms_;
  std::deque<Ended> ended_;
};

}  // namespace th::zero
