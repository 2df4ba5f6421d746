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

/// Audits by exactness (run.audit_steps, docs/audit.md). Every so many steps one slot, drawn by the
/// step's number, is computed by a second rank as well, with the same dropout; loss and gradients
/// must have the same bits, and so must the slices of them that arrive at their owners, and the
/// copies of the parameters that ranks have of their own. Where the two ranks differ a third one
/// decides. What is found ends the step before its update. One rank computes the slot twice.
///
/// A step's bits do not depend on it: what is computed again comes before the first round, goes
/// nowhere, and takes no memory but the micro-batch's.
class Audit {
 public:
  /// What an audit works with; all outlive it.
  struct Parts {
    const config::RunConfig& config;
    model::Transformer& model;
    zero::ZeroEngine& engine;
    runtime::Collectives& collectives;
    const data::StepSource& source;
    MemoryWatch* memory = nullptr;  ///< is told of what is computed again; may be null
    std::string place;              ///< what this rank is told of by: "cuda:1 NVIDIA H200"
  };
  explicit Audit(Parts parts);

  /// Whether the step of this number, from 1, is audited.
  [[nodiscard]] bool due(std::int64_t number) const noexcept {
    return steps_ > 0 && number % steps_ == 0;
  }
  /// train::enqueue_step(), with an audit where the step is due; `step` counts from 0. Empty, or
  /// what was found, the same on every rank: the step has not ended then, and the engine cannot go
  /// on. Collective.
  [[nodiscard]] std::string enqueue_step(const data::StepBatches& batches, std::int64_t step,
                                         const zero::StepRequest& request);

  /// The slot that an audit looks at, and who computes it.
  struct Draw {
    std::int64_t slot = 0;
    int owner = 0;     ///< has the slot in the step itself
    int witness = 0;   ///< another rank, where there is one
    int arbiter = -1;  ///< a third one, where there is one
  };
  /// By the seed and the step, from 0, alone: the slot is the same at every rank count.
  [[nodiscard]] static Draw draw(std::uint64_t seed, std::int64_t step, std::int64_t slots,
                                 int ranks);

 private:
  /// A step under audit: what computing its slot takes.
  struct Step {
    const data::StepBatches& batches;
    std::int64_t number = 0;  ///< from 0
    const zero::StepRequest& request;
    Draw draw;
  };
  /// Computes the slot again on one rank; its hashes there. Collective.
  [[nodiscard]] zero::SlotHashes compute(const Step& step, int rank);
  /// What the reports say, or ""; asks the arbiter where they need one. Collective.
  [[nodiscard]] std::string compare(const Step& step, const AuditReport& mine);

  Parts parts_;
  std::int64_t steps_;  ///< run.audit_steps
  std::int64_t agreed_ =
      0;  ///< the last step whose audit found nothing, from 1; 0: none in this run
};

}  // namespace th::train
