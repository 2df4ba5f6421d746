#include "app/deal/deal.hpp"

#include "app/deal/messages.hpp"
#include "app/deal/ranks.hpp"
#include "app/stream/stop_requested.hpp"
#include "th/base/error.hpp"
#include "th/runtime/transport/free_cores.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <utility>
#include <vector>

namespace th::app {

namespace {

constexpr int kChunksOfRank = 2;

/// Chunks that rank 0 translates itself, on the thread that the program began on, while another
/// deals.
class OwnWork {
 public:
  explicit OwnWork(const ChunkWork& work) : work_(work) {}

  void give(Chunk chunk) {
    const std::lock_guard lock(mutex_);
    chunks_.push_back(std::move(chunk));
    changed_.notify_all();
  }
  /// The next result. Throws what the work threw.
  [[nodiscard]] std::optional<ChunkResult> take() {
    const std::lock_guard lock(mutex_);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    if (results_.empty()) return std::nullopt;
    ChunkResult result = std::move(results_.front());
    results_.pop_front();
    return result;
  }
  /// No chunk will come any more, and the one at work is given up.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  /// Works until close().
  void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closed_ || !chunks_.empty(); });
      if (closed_) return;
      const Chunk chunk = std::move(chunks_.front());
      chunks_.pop_front();
      lock.unlock();
      try {
        std::optional<ChunkResult> result =
            work_(chunk, [this] { return closed_ || stop_requested(); });
        lock.lock();
        if (result) results_.push_back(std::move(*result));
      } catch (...) {
        if (!lock.owns_lock()) lock.lock();
        error_ = std::current_exception();
      }
    }
  }

 private:
  const ChunkWork& work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk> chunks_;
  std::deque<ChunkResult> results_;
  std::exception_ptr error_;
  std::atomic<bool> closed_ = false;
};

/// Rank 0's books: which chunk lies where, and which results wait for those before them.
class Dealer {
 public:
  Dealer(const runtime::Communicator& world, ChunkReader& reader, ChunkWriter& writer, OwnWork* own)
      : world_(world),
        reader_(reader),
        writer_(writer),
        own_(own),
        outbox_(world),
        lying_(static_cast<std::size_t>(world.size()), 0) {
    if (own_ == nullptr) lying_[0] = kChunksOfRank;
  }

  JobEnd run() {
    while (true) {
      bool moved = collect();
      if (stop_requested() || stopped_) {
        write();
        return JobEnd::kStopped;
      }
      moved |= write();
      moved |= deal();
      if (waiting_.empty() && reader_.at_end()) break;
      if (!moved) nap();
    }
    if (reading_error_) std::rethrow_exception(reading_error_);
    // A signal ends the reading too.
    return stop_requested() ? JobEnd::kStopped : JobEnd::kDone;
  }

 private:
  struct Waiting {
    ChunkNote note;
    std::optional<ChunkResult> result;
  };

  bool collect() {
    bool moved = false;
    outbox_.progress();
    while (const std::optional<Message> message = receive(world_)) {
      moved = true;
      if (message->tag == Tag::kStopped) stopped_ = true;
      if (message->tag == Tag::kError) {
        const auto [code, text] = unpacked_error(message->bytes);
        throw Error(static_cast<ExitCode>(code), text);
      }
      if (message->tag == Tag::kResult) put(message->rank, unpacked_result(message->bytes));
    }
    while (own_ != nullptr) {
      std::optional<ChunkResult> result = own_->take();
      if (!result) break;
      moved = true;
      put(0, std::move(*result));
    }
    return moved;
  }
  void put(int rank, ChunkResult result) {
    --lying_[static_cast<std::size_t>(rank)];
    waiting_.at(result.number).result = std::move(result);
  }
  bool write() {
    bool moved = false;
    while (!waiting_.empty() && waiting_.begin()->second.result) {
      const Waiting& first = waiting_.begin()->second;
      writer_.write(first.note, *first.result);
      waiting_.erase(waiting_.begin());
      moved = true;
    }
    return moved;
  }
  /// What was read before an error is translated and written before it is told.
  std::optional<Chunk> next_chunk() {
    try {
      return reader_.take_if_there();
    } catch (const Error&) {
      reading_error_ = std::current_exception();
      return std::nullopt;
    }
  }
  bool deal() {
    bool moved = false;
    while (std::ssize(waiting_) < 4 * std::ssize(lying_)) {
      // Rank 0 last among equals: it deals too.
      const auto free = std::min_element(lying_.rbegin(), lying_.rend());
      if (*free >= kChunksOfRank) break;
      std::optional<Chunk> chunk = next_chunk();
      if (!chunk) break;
      moved = true;
      ++*free;
      waiting_.emplace(chunk->number, Waiting{note_of(*chunk), {}});
      const auto rank = static_cast<int>(lying_.rend() - free) - 1;
      if (rank == 0)
        own_->give(std::move(*chunk));
      else
        outbox_.send(rank, Tag::kChunk, packed(*chunk));
    }
    return moved;
  }

  const runtime::Communicator& world_;
  ChunkReader& reader_;
  ChunkWriter& writer_;
  OwnWork* own_;
  Outbox outbox_;
  std::vector<int> lying_;  ///< chunks that lie with each rank
  std::map<std::int64_t, Waiting> waiting_;
  std::exception_ptr reading_error_;
  bool stopped_ = false;
};

}  // namespace

JobEnd translate_alone(ChunkReader& reader, const ChunkWork& work, ChunkWriter& writer) {
  try {
    while (const std::optional<Chunk> chunk = reader.take()) {
      const std::optional<ChunkResult> result = work(*chunk, stop_requested);
      if (!result) return JobEnd::kStopped;
      writer.write(note_of(*chunk), *result);
    }
  } catch (const OutputClosed&) {
    return JobEnd::kClosed;
  }
  return stop_requested() ? JobEnd::kStopped : JobEnd::kDone;
}

JobEnd deal_chunks(const runtime::Communicator& world, ChunkReader& reader, const ChunkWork& work,
                   ChunkWriter& writer) {
  if (!runtime::any_thread_may_call_mpi()) {
    try {
      return Dealer(world, reader, writer, nullptr).run();
    } catch (const OutputClosed&) {
      return JobEnd::kClosed;
    }
  }
  OwnWork own(work);
  JobEnd end = JobEnd::kDone;
  std::exception_ptr error;
  std::thread dealing([&] {
    try {
      end = Dealer(world, reader, writer, &own).run();
    } catch (const OutputClosed&) {
      end = JobEnd::kClosed;
    } catch (...) {
      error = std::current_exception();
    }
    own.close();
  });
  own.run();
  dealing.join();
  if (error) std::rethrow_exception(error);
  return end;
}

void end_ranks(const runtime::Communicator& world, int code) {
  Outbox outbox(world);
  for (int rank = 1; rank < world.size(); ++rank)
    outbox.send(rank, Tag::kEnd, std::to_string(code));
  for (int silent = world.size() - 1; silent > 0;) {
    outbox.progress();
    const std::optional<Message> message = receive(world);
    if (message && message->tag == Tag::kHeard) --silent;
    if (!message) nap();
  }
}

int work_for_rank_0(const runtime::Communicator& world, const ChunkWork& work) {
  Outbox outbox(world);
  std::deque<Chunk> chunks;
  std::optional<int> code;
  bool gave_up = false;  // by a signal or an error: rank 0 knows
  const auto look = [&] {
    outbox.progress();
    while (const std::optional<Message> message = receive(world)) {
      if (message->tag == Tag::kEnd) code = std::stoi(message->bytes);
      if (message->tag == Tag::kChunk) chunks.push_back(unpacked_chunk(message->bytes));
    }
    return code.has_value() || stop_requested();
  };
  while (true) {
    const bool over = look();
    if (code) break;
    if (over && !std::exchange(gave_up, true)) outbox.send(0, Tag::kStopped, "");
    if (gave_up || chunks.empty()) {
      nap();
      continue;
    }
    const Chunk chunk = std::move(chunks.front());
    chunks.pop_front();
    try {
      const std::optional<ChunkResult> result = work(chunk, look);
      if (result) outbox.send(0, Tag::kResult, packed(*result));
    } catch (const std::exception&) {
      gave_up = true;
      outbox.send(0, Tag::kError, current_error());
    }
  }
  outbox.send(0, Tag::kHeard, "");
  return *code;
}

}  // namespace th::app
