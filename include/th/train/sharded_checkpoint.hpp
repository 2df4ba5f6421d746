#pragma once

#include <memory>
#include <string>

#include "th/config/run_config.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/sharded_source.hpp"

// Checkpoints of models that no rank could hold, for translation: see LockStep.
namespace th::train {

/// Loads `what` ("parameters" or their moving average) of a checkpoint of any rank count. Each rank
/// loads its shard, in precision.dtype, unit by unit through a buffer of the largest unit's slice.
/// Throws CheckpointError on every rank. Collective.
[[nodiscard]] std::unique_ptr<zero::ShardedSource> load_sharded(const io::CheckpointReader& reader,
                                                                const std::string& what,
                                                                const config::RunConfig& config,
                                                                const model::Transformer& model,
                                                                runtime::Collectives& collectives);

/// Whether the ranks of some node would take more memory than it has, if each read all parameters
/// of the model in fp32 and kept them in `type`. Collective.
[[nodiscard]] bool too_large_for_a_rank(const model::Transformer& model, ElementType type,
                                        runtime::Collectives& collectives);

}  // namespace th::train
