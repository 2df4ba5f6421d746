#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "th/config/run_config.hpp"
#include "th/data/loader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/train/watch/memory_watch.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

struct AuditReport;

/// Audits by exactness (run.audit_steps, docs/audit.md). Every so many steps a second rank also
/// computes one slot, drawn by the step's number, with the same dropout. Loss and gradients must
/// have the same bits on both, and so must the slices that arrive at their owners, and the ranks'
/// own copies of the parameters. If the two ranks differ a third one decides. A difference ends the
/// step before its update. A single rank computes the slot twice.
///
/// A step's bits do not depend on its audit: the second computation comes before the first round,
/// its results are only hashed, and it takes no memory but that of the micro-batch.
class Audit {
 public:
  /// The parts of the run that an audit uses; all outlive it.
  struct Parts {
    const config::RunConfig& config;
    model::Transformer& model;
    zero::ZeroEngine& engine;
    runtime::ControlCalls& control;
    const data::StepSource& source;
    MemoryWatch* memory = nullptr;  ///< learns of the second computation; may be null
    std::string place;              ///< this rank's device in messages: "cuda:1 NVIDIA H200"
  };
  explicit Audit(Parts parts);

  /// Whether the step of this number, from 1, is audited.
  [[nodiscard]] bool due(std::int64_t number) const noexcept {
    return steps_ > 0 && number % steps_ == 0;
  }
  /// train::enqueue_step() with an audit if the step is due; `step` counts from 0. Returns what the
  /// audit found, the same on every rank; empty: nothing. After a find the step has not ended, and
  /// the engine cannot go on. Collective.
  [[nodiscard]] std::string enqueue_step(const data::StepBatches& batches, std::int64_t step,
                                         const zero::StepRequest& request);

  /// The slot that an audit checks, and the ranks that compute it.
  struct Draw {
    std::int64_t slot = 0;
    int owner = 0;     ///< the rank that computes the slot in the step itself
    int witness = 0;   ///< another rank, if there is one
    int arbiter = -1;  ///< a third rank, if there is one
  };
  /// Draws by the seed and the step, counted from 0, alone, so the slot is the same at every rank
  /// count.
  [[nodiscard]] static Draw draw(std::uint64_t seed, std::int64_t step, std::int64_t slots,
                                 int ranks);

 private:
  /// A step under audit.
  struct Step {
    const data::StepBatches& batches;
    std::int64_t number = 0;  ///< from 0
    const zero::StepRequest& request;
    Draw draw;
  };
  /// Computes the slot again on one rank, which gets its hashes. Collective.
  [[nodiscard]] zero::SlotHashes compute(const Step& step, int rank);
  /// Compares the reports and returns what they say, or ""; asks the arbiter if they need one.
  /// Collective.
  [[nodiscard]] std::string compare(const Step& step, const AuditReport& mine);

  Parts parts_;
  std::int64_t steps_;  ///< run.audit_steps
  std::int64_t agreed_ =
      0;  ///< the last step whose audit found nothing, from 1; 0: none in this run
};

}  // namespace th::train
