#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/dataset.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/train/evaluation.hpp"
#include "th/zero/decoding_source.hpp"
#include "th/zero/memory_plan.hpp"

// Decoding with parameters that stay sharded.
namespace th::train {

/// Ranks that decode a batch each, position by position together, because they gather the
/// parameters together: what each finds is what translate() finds with all parameters, bit for bit.
/// A rank without a batch, and one whose batch is done, goes along idle until none is left; the
/// ranks agree on that every few positions, so that none waits for more than a batch.
class LockStep {
 public:
  /// All outlive it. `stop`: may be empty.
  LockStep(const model::Transformer& model, zero::DecodingSource& source,
           runtime::Collectives& collectives, model::SearchOptions options, StopCheck stop);

  using Results = std::vector<std::vector<model::Hypothesis>>;
  /// The translations of this rank's batch, as model::translate(); of null or an empty one none.
  /// Empty where `stop` ended it. A NumericsError of any rank is thrown on all. Collective.
  [[nodiscard]] std::optional<Results> translate(
      const data::Batch* batch, std::span<const model::SentenceOptions> sentences = {});
  /// As model::score_targets(), without steps; of null or an empty batch nothing. Likewise.
  [[nodiscard]] std::vector<double> score(model::Transformer& model, const data::Batch* batch);

 private:
  enum class Next { kSteps, kEnd, kStop };
  /// What the ranks agree to do. Throws any rank's `failure` on all. Collective.
  [[nodiscard]] Next look(bool live, const std::exception_ptr& failure);

  const model::Transformer& model_;
  zero::DecodingSource& source_;
  runtime::Collectives& collectives_;
  model::SearchOptions options_;
  StopCheck stop_;
};

/// How stage 3 decodes: decode.sharded as it is given, or what auto becomes.
struct ShardedChoice {
  config::Sharded sharded = config::Sharded::kOff;  ///< on or off
  std::string reason;                               ///< for the log; empty where nothing is decoded
  std::int64_t together = 0;  ///< where it is on: zero::sentences_in_lock_step()
};

/// The batches of decoding that may take most memory, of validation and test set, over all ranks.
[[nodiscard]] std::vector<zero::BatchShape> decoding_shapes(const config::RunConfig& config,
                                                            const data::Dataset& dataset);

/// auto is on where the plan of `request` with decoding by whole copies of the parameters takes
/// more, on any node, than the `available` bytes of its host memory for the `ranks_here` ranks
/// there (0: not known, all fits), or than a rank's address space. The same on every rank.
/// Collective.
[[nodiscard]] ShardedChoice choose_sharded_decoding(const zero::PlanRequest& request,
                                                    const data::Dataset& dataset,
                                                    runtime::Collectives& collectives,
                                                    std::int64_t ranks_here,
                                                    std::int64_t available);

}  // namespace th::train
