#include "th/runtime/observe/event_log.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::runtime {

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
  const std::uint64_t first = first_.load();
  if (handle < first || handle - first >= static_cast<std::uint64_t>(kMost)) return nullptr;
  Block* there = blocks_[(handle - first) / kBlock].load(std::memory_order_acquire);
  return there == nullptr ? nullptr : &(*there)[(handle - first) % kBlock];
}

void EventLog::open(std::uint64_t handle, const Event& event) noexcept {
  const std::uint64_t first = first_.load();
  if (handle < first) return;
  opened_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t place = handle - first;
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
  const Event* event = find(first_.load() + static_cast<std::uint64_t>(place));
  return event == nullptr || event->begin == 0 ? nullptr : event;
}

Stretches::Stretches(const EventLog& log, Of of) : log_(log), of_(std::move(of)) {
  find();
  (void)next();
}

bool Stretches::next() {
  if (following_ == nullptr) return there_ = false;
  const FlightRecord::Event& now = *following_;
  find();
  begin_ = std::max(now.begin, end_);
  end_ = std::max(begin_, following_ == nullptr ? now.end : std::min(now.end, following_->begin));
  total_ += end_ - begin_;
  return there_ = true;
}

void Stretches::find() {
  for (following_ = nullptr; following_ == nullptr && place_ < log_.size(); ++place_) {
    const FlightRecord::Event* event = log_.at(place_);
    if (event != nullptr && event->end != 0 && of_(*event)) following_ = event;
  }
}

std::int64_t Stretches::common_with(std::int64_t begin, std::int64_t end) {
  std::int64_t common = 0;
  while (there_ && begin_ < end) {
    common += std::max<std::int64_t>(0, std::min(end, end_) - std::max(begin, begin_));
    if (end_ > end) break;  // it may reach into the next one
    (void)next();
  }
  return common;
}

bool computes(const FlightRecord::Event& event) noexcept {
  using What = FlightRecord::What;
  return event.what == What::kForward || event.what == What::kBackward ||
         event.what == What::kUpdate;
}

bool communicates(const FlightRecord::Event& event) noexcept {
  using What = FlightRecord::What;
  return event.what == What::kGather || event.what == What::kReduce;
}

BusyTime busy_time(const EventLog& log) {
  Stretches compute(log, computes), communication(log, communicates);
  BusyTime out;
  for (; communication.there(); (void)communication.next())
    out.overlapped += compute.common_with(communication.begin(), communication.end());
  while (compute.next()) {
  }
  out.compute = compute.total();
  out.communication = communication.total();
  return out;
}

}  // namespace th::runtime
