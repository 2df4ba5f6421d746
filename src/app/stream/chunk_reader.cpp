#include "app/stream/chunk_reader.hpp"

#include "app/stream/line_source.hpp"
#include "app/stream/stop_requested.hpp"
#include "th/base/error.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

namespace th::app {

namespace {

constexpr std::int64_t kChunkBytes = 1 << 21;

}  // namespace

/// The lines of the input, and of the file beside it where there is one, and the chunk that they
/// fill.
class ChunkReader::Reading {
 public:
  Reading(ChunkReader& owner, const ReadingPlan& plan)
      : owner_(owner),
        plan_(plan),
        source_(plan.input, [this] { return flush() && owner_.wanted(); }) {
    if (!plan.beside.empty()) beside_.emplace(plan.beside, [this] { return owner_.wanted(); });
  }

  void skip() {
    InputLine line;
    while (lines_ < plan_.skip) {
      if (stop_requested() || !next(line)) break;
    }
    if (!stop_requested() && (lines_ < plan_.skip || hash_.value() != plan_.skipped))
      throw DeckError("the first " + std::to_string(plan_.skip) + " lines of " + source_.name() +
                      " are not those that the job before has translated; remove its journal to "
                      "begin anew");
  }
  void run() {
    if (plan_.skip > 0) skip();
    begin();
    try {
      read_lines();
    } catch (const DataError&) {
      (void)flush();  // the lines before the fault
      throw;
    }
    if (!stop_requested()) (void)flush();
  }

 private:
  void read_lines() {
    InputLine line;
    while (!stop_requested() && next(line)) {
      bytes_ += std::ssize(line.text) + std::ssize(line.beside);
      chunk_.lines.push_back(std::exchange(line, {}));
      if (std::ssize(chunk_.lines) < longest() && bytes_ < kChunkBytes) continue;
      if (!flush()) return;
    }
  }
  /// Lines of this chunk at most.
  [[nodiscard]] std::int64_t longest() const {
    return plan_.batch * std::clamp<std::int64_t>(chunk_.first_line / (16 * plan_.batch), 2, 16);
  }
  [[nodiscard]] bool next(InputLine& line) {
    const bool more = source_.next(line.text, line.fault);
    if (beside_ && beside_->next(line.beside, beside_fault_) != more)
      throw DataError(source_.name() + " and " + beside_->name() +
                      " have unlike numbers of lines; their lines go together");
    if (!more) return false;
    if (line.fault.empty()) line.fault = beside_fault_;
    ++lines_;
    for (const std::string* part : {&line.text, &line.beside}) {
      hash_.add(*part);
      hash_.add("\n");
      input_bytes_ += std::ssize(*part) + 1;
    }
    return true;
  }
  void begin() {
    chunk_ = {};
    chunk_.number = number_++;
    chunk_.first_line = lines_;
    bytes_ = 0;
  }
  [[nodiscard]] bool flush() {
    if (chunk_.lines.empty()) return true;
    chunk_.input_hash = hash_.value();
    chunk_.input_bytes = input_bytes_;
    const bool taken = owner_.put(std::move(chunk_));
    begin();
    return taken;
  }

  ChunkReader& owner_;
  const ReadingPlan& plan_;
  LineSource source_;
  std::optional<LineSource> beside_;
  std::string beside_fault_;
  TextHash hash_;
  std::int64_t lines_ = 0, number_ = 0, bytes_ = 0, input_bytes_ = 0;
  Chunk chunk_;
};

ChunkReader::ChunkReader(const ReadingPlan& plan)
    : ahead_(plan.ahead), thread_([this, plan] { read(plan); }) {}

ChunkReader::~ChunkReader() {
  {
    const std::lock_guard lock(mutex_);
    left_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ChunkReader::read(const ReadingPlan& plan) {
  std::exception_ptr error;
  try {
    Reading(*this, plan).run();
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  error_ = error;
  ended_ = true;
  changed_.notify_all();
}

bool ChunkReader::wanted() {
  const std::lock_guard lock(mutex_);
  return !left_;
}

bool ChunkReader::put(Chunk chunk) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return left_ || std::ssize(queue_) < ahead_; });
  if (left_) return false;
  queue_.push_back(std::move(chunk));
  changed_.notify_all();
  return true;
}

std::optional<Chunk> ChunkReader::pop() {
  if (queue_.empty()) {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return std::nullopt;
  }
  Chunk chunk = std::move(queue_.front());
  queue_.pop_front();
  changed_.notify_all();
  return chunk;
}

std::optional<Chunk> ChunkReader::take() {
  std::unique_lock lock(mutex_);
  while (queue_.empty() && !ended_) {
    if (stop_requested()) return std::nullopt;
    changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
  return pop();
}

std::optional<Chunk> ChunkReader::take_if_there() {
  const std::lock_guard lock(mutex_);
  return pop();
}

bool ChunkReader::at_end() {
  const std::lock_guard lock(mutex_);
  return ended_ && queue_.empty() && !error_;
}

}  // namespace th::app
