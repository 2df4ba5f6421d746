#include "th/runtime/observe/memory_samples.hpp"

#include <new>

namespace th::runtime {

MemorySamples::MemorySamples() noexcept {
  static_assert(sizeof(Block) < MemoryLedger::kSmallest);
  MemoryLedger::process().watch_peaks();
  MemoryLedger::device().watch_peaks();
}

MemorySamples::~MemorySamples() {
  MemoryLedger::process().forget_peaks();
  MemoryLedger::device().forget_peaks();
  for (Block* block : blocks_) delete block;
}

void MemorySamples::take() noexcept {
  if (busy_.test_and_set(std::memory_order_acquire)) return;
  take(Of::kHost, MemoryLedger::process());
  take(Of::kDevice, MemoryLedger::device());
  busy_.clear(std::memory_order_release);
}

void MemorySamples::take(Of of, MemoryLedger& ledger) noexcept {
  const auto [peak, now] = ledger.look();
  MemoryUse& last = last_[static_cast<std::size_t>(of)];
  const bool rose = peak.ns != now.ns;
  if (!rose && now.use.bytes == last.bytes) return;
  if (rose) keep({of, peak.ns, peak.use});
  keep({of, now.ns, now.use});
  last = now.use;
}

void MemorySamples::keep(const Sample& sample) noexcept {
  Block** block = size_ < kMost ? &blocks_[static_cast<std::size_t>(size_ / kBlock)] : nullptr;
  if (block != nullptr && *block == nullptr) *block = new (std::nothrow) Block;
  if (block == nullptr || *block == nullptr) {
    ++lost_;
    return;
  }
  (**block)[static_cast<std::size_t>(size_++ % kBlock)] = sample;
}

const MemorySamples::Sample& MemorySamples::at(std::int64_t place) const noexcept {
  return (
      *blocks_[static_cast<std::size_t>(place / kBlock)])[static_cast<std::size_t>(place % kBlock)];
}

}  // namespace th::runtime
