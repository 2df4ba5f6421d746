#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/dataset.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/runtime/transport/control_calls.hpp"
#include "th/train/evaluation.hpp"
#include "th/zero/decoding_source.hpp"
#include "th/zero/memory_plan.hpp"

// Decoding with parameters that stay sharded.
namespace th::train {

/// Decoding in lock step: each rank decodes a batch, and all go position by position together,
/// because they gather the parameters together. The results are those of translate() with all
/// parameters, bit for bit. A rank without a batch, or whose batch is done, goes along idle until
/// no batch is left. The ranks agree on that every few positions, so that none waits for longer
/// than a batch.
class LockStep {
 public:
  /// All arguments by reference outlive this object. `stop` may be empty.
  LockStep(const model::Transformer& model, zero::DecodingSource& source,
           runtime::ControlCalls& control, model::SearchOptions options, StopCheck stop);

  using Results = std::vector<std::vector<model::Hypothesis>>;
  /// The translations of this rank's batch, as model::translate() gives them; none for a null or
  /// empty batch. Nothing if `stop` ended it. A NumericsError of any rank is thrown on all.
  /// Collective.
  [[nodiscard]] std::optional<Results> translate(
      const data::Batch* batch, std::span<const model::SentenceOptions> sentences = {});
  /// The scores of this rank's batch, as model::score_targets() gives them, without steps; none for
  /// a null or empty batch. Throws as translate() does. Collective.
  [[nodiscard]] std::vector<double> score(model::Transformer& model, const data::Batch* batch);

 private:
  enum class Next { kSteps, kEnd, kStop };
  /// Lets the ranks agree on what comes next. Throws any rank's `failure` on all. Collective.
  [[nodiscard]] Next look(bool live, const std::exception_ptr& failure);

  const model::Transformer& model_;
  zero::DecodingSource& source_;
  runtime::ControlCalls& control_;
  model::SearchOptions options_;
  StopCheck stop_;
};

/// How stage 3 decodes: as decode.sharded says, or as auto chooses.
struct ShardedChoice {
  config::Sharded sharded = config::Sharded::kOff;  ///< on or off
  std::string reason;                               ///< for the log; empty if nothing is decoded
  std::int64_t together = 0;                        ///< if it is on: zero::sentences_in_lock_step()
};

/// The shapes of the batches of validation and test set, over all ranks, that may take most memory
/// in decoding.
[[nodiscard]] std::vector<zero::BatchShape> decoding_shapes(const config::RunConfig& config,
                                                            const data::Dataset& dataset);

/// Resolves decode.sharded, the same on every rank. auto is on if the plan of `request`, with
/// decoding by whole copies of the parameters, takes too much on some node: more than the
/// `available` bytes of host memory for its `ranks_here` ranks (0: not known, all fits), or more
/// than a rank's address space. Collective.
[[nodiscard]] ShardedChoice choose_sharded_decoding(const zero::PlanRequest& request,
                                                    const data::Dataset& dataset,
                                                    runtime::ControlCalls& control,
                                                    std::int64_t ranks_here,
                                                    std::int64_t available);

}  // namespace th::train
