#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "app/stream/chunk.hpp"
#include "th/base/hash.hpp"

namespace th::app {

/// What is read, and in what chunks.
struct ReadingPlan {
  std::string input;          ///< a path; empty: standard input
  std::string beside;         ///< a file whose lines go beside those of the input; empty: none
  std::int64_t batch = 32;    ///< sentences of a batch: chunks are of 2 to 16 batches
  std::int64_t ahead = 4;     ///< chunks that wait at most
  std::int64_t skip = 0;      ///< lines that an earlier job has translated
  std::uint64_t skipped = 0;  ///< their Chunk::input_hash
};

/// Reads the input on a thread of its own, chunk by chunk. A chunk ends after so many lines or
/// bytes, and where a pipe pauses: what is there is translated then. The first chunks are small, so
/// that all ranks soon have work and a short text is dealt to all.
class ChunkReader {
 public:
  explicit ChunkReader(const ReadingPlan& plan);
  ~ChunkReader();
  ChunkReader(const ChunkReader&) = delete;
  ChunkReader& operator=(const ChunkReader&) = delete;

  /// The next chunk; waits for it. Empty at the end, and where a stop signal came. Throws what
  /// reading threw: DataError; DeckError where the skipped lines are not those of the earlier job.
  [[nodiscard]] std::optional<Chunk> take();
  /// The next chunk where there is one.
  [[nodiscard]] std::optional<Chunk> take_if_there();
  /// Whether no chunk will come any more.
  [[nodiscard]] bool at_end();

 private:
  class Reading;
  void read(const ReadingPlan& plan);
  /// Waits for room in the queue; false where nobody takes chunks any more.
  [[nodiscard]] bool put(Chunk chunk);
  /// Whether anybody takes chunks.
  [[nodiscard]] bool wanted();
  /// With the lock held.
  [[nodiscard]] std::optional<Chunk> pop();

  std::int64_t ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk> queue_;
  bool ended_ = false, left_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace th::app
