#pragma once

#include "app/stream/chunk_reader.hpp"
#include "app/stream/chunk_writer.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::app {

/// How the reading and writing of a job ended.
enum class JobEnd {
  kDone,     ///< every line is written
  kStopped,  ///< a stop signal came
  kClosed    ///< who read standard output has closed it
};

/// All chunks by this process alone. Throws what reading, `work` and writing throw.
[[nodiscard]] JobEnd translate_alone(ChunkReader& reader, const ChunkWork& work,
                                     ChunkWriter& writer);

/// Rank 0's part of a job of several ranks: deals chunks to the ranks that are free, itself too,
/// and writes their results in order. At most two chunks lie with a rank, and a bounded number in
/// all, so that memory does not grow with the input. Throws what reading, writing, or the work of
/// any rank threw. The others must be in work_for_rank_0(), and stay there until end_ranks().
[[nodiscard]] JobEnd deal_chunks(const runtime::Communicator& world, ChunkReader& reader,
                                 const ChunkWork& work, ChunkWriter& writer);
/// Tells the other ranks the job's exit code, and waits until all have heard it. Of rank 0.
void end_ranks(const runtime::Communicator& world, int code);
/// The part of the other ranks; the job's exit code. An error of `work` is told to rank 0.
[[nodiscard]] int work_for_rank_0(const runtime::Communicator& world, const ChunkWork& work);

}  // namespace th::app
