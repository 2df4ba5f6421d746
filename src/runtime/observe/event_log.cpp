#include "th/runtime/observe/event_log.hpp"

#include <algorithm>
#include <new>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::runtime {

namespace {

using What = FlightRecord::What;

bool computes(What what) {
  return what == What::kForward || what == What::kBackward || what == What::kUpdate;
}
bool communicates(What what) { return what == What::kGather || what == What::kReduce; }

/// The times of a kind of events one after the other, each up to the begin of the next at most.
class Stretches {
 public:
  Stretches(const EventLog& log, bool (*of)(What)) : log_(log), of_(of) {
    find();
    (void)next();
  }
  bool next() {
    if (following_ == nullptr) return there_ = false;
    const FlightRecord::Event& now = *following_;
    find();
    begin_ = std::max(now.begin, end_);
    end_ = std::max(begin_, following_ == nullptr ? now.end : std::min(now.end, following_->begin));
    total_ += end_ - begin_;
    return there_ = true;
  }
  [[nodiscard]] bool there() const { return there_; }
  [[nodiscard]] std::int64_t begin() const { return begin_; }
  [[nodiscard]] std::int64_t end() const { return end_; }
  [[nodiscard]] std::int64_t total() const { return total_; }

 private:
  void find() {
    for (following_ = nullptr; following_ == nullptr && place_ < log_.size(); ++place_) {
      const FlightRecord::Event* event = log_.at(place_);
      if (event != nullptr && event->end != 0 && of_(event->what)) following_ = event;
    }
  }

  const EventLog& log_;
  bool (*of_)(What);
  std::int64_t place_ = 0, begin_ = 0, end_ = 0, total_ = 0;
  const FlightRecord::Event* following_ = nullptr;
  bool there_ = false;
};

}  // namespace

EventLog::~EventLog() {
  for (std::atomic<Block*>& block : blocks_) delete block.load();
}

EventLog::Block* EventLog::block(std::size_t number) noexcept {
  static_assert(sizeof(Block) < MemoryLedger::kSmallest &&
                sizeof(EventLog) < MemoryLedger::kSmallest);
  std::atomic<Block*>& place = blocks_[number];
  if (Block* there = place.load(std::memory_order_acquire)) return there;
  auto* made = new (std::nothrow) Block;
  Block* there = nullptr;
  if (made == nullptr || place.compare_exchange_strong(there, made)) return made;
  delete made;  // another thread was first
  return there;
}

EventLog::Event* EventLog::find(std::uint64_t handle) const noexcept {
  if (handle < first_ || handle - first_ >= static_cast<std::uint64_t>(kMost)) return nullptr;
  Block* there = blocks_[(handle - first_) / kBlock].load(std::memory_order_acquire);
  return there == nullptr ? nullptr : &(*there)[(handle - first_) % kBlock];
}

void EventLog::open(std::uint64_t handle, const Event& event) noexcept {
  opened_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t place = handle - first_;
  Block* there = place < static_cast<std::uint64_t>(kMost) ? block(place / kBlock) : nullptr;
  if (there == nullptr) {
    lost_.fetch_add(1, std::memory_order_relaxed);
  } else {
    (*there)[place % kBlock] = event;
  }
}

void EventLog::begin(std::uint64_t handle, std::int64_t ns) noexcept {
  if (Event* event = find(handle)) event->begin = ns;
}

void EventLog::end(std::uint64_t handle, std::int64_t ns) noexcept {
  if (Event* event = find(handle)) event->end = ns;
}

std::int64_t EventLog::size() const noexcept { return std::min(opened_.load(), kMost); }

const EventLog::Event* EventLog::at(std::int64_t place) const noexcept {
  const Event* event = find(first_ + static_cast<std::uint64_t>(place));
  return event == nullptr || event->begin == 0 ? nullptr : event;
}

BusyTime busy_time(const EventLog& log) {
  Stretches compute(log, computes), communication(log, communicates);
  BusyTime out;
  while (compute.there() && communication.there()) {
    const std::int64_t common = std::min(compute.end(), communication.end()) -
                                std::max(compute.begin(), communication.begin());
    out.overlapped += std::max<std::int64_t>(0, common);
    (void)(compute.end() < communication.end() ? compute : communication).next();
  }
  while (compute.next()) {
  }
  while (communication.next()) {
  }
  out.compute = compute.total();
  out.communication = communication.total();
  return out;
}

}  // namespace th::runtime
