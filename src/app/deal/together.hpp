#pragma once

#include "app/deal/deal.hpp"
#include "th/base/error.hpp"

// Jobs whose ranks work on each chunk together, because no rank could hold the model.
namespace th::app {

/// Whether an error of collective work is one that every rank has: told to all, or of the lines.
[[nodiscard]] bool is_everywhere(const Error& error);

/// Rank 0's part: sends every chunk to all ranks, works on it with them, and writes its own result.
/// `work` is collective: it returns nothing, or throws what is_everywhere(), on all alike. Throws
/// what reading, writing and `work` throw. The others must be in follow_rank_0(), and stay there
/// until end_ranks().
[[nodiscard]] JobEnd lead_ranks(const runtime::Communicator& world, ChunkReader& reader,
                                const ChunkWork& work, ChunkWriter& writer);
/// The part of the other ranks; the job's exit code. Throws what a rank alone met, which ends the
/// launch.
[[nodiscard]] int follow_rank_0(const runtime::Communicator& world, const ChunkWork& work);

}  // namespace th::app
