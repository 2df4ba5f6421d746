#include "th/runtime/memory/memory_ledger.hpp"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <new>
#include <utility>

namespace th::runtime {

namespace {

thread_local MemoryClass this_thread_class = MemoryClass::kUntagged;
thread_local MemoryLedger* this_thread_plan = nullptr;

struct Block {
  MemoryLedger* ledger;
  MemoryClass kind;
  std::int64_t bytes;
};

/// As monotonic_ns(), which is above this folder.
std::int64_t ledger_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// The blocks alive. Its nodes are small, so that it never notes itself. Never destroyed: blocks
/// are released after main.
struct BlockTable {
  std::mutex mutex;
  std::map<const void*, Block> blocks;
};

BlockTable& table() noexcept {
  alignas(BlockTable) static unsigned char storage[sizeof(BlockTable)];
  static auto* made = new (storage) BlockTable;
  return *made;
}

}  // namespace

const char* memory_class_name(MemoryClass kind, StateNames states) noexcept {
  for (std::size_t state = 0; state < std::min(states.size(), kMaxOptimizerStates); ++state) {
    if (kind == optimizer_state_class(state)) return states[state];
  }
  switch (kind) {
    case MemoryClass::kParameters:
      return "parameters";
    case MemoryClass::kGradients:
      return "gradients";
    case MemoryClass::kMaster:
      return "master";
    case MemoryClass::kGatherSlots:
      return "gather slots";
    case MemoryClass::kCommunication:
      return "communication";
    case MemoryClass::kActivations:
      return "activations";
    case MemoryClass::kBatches:
      return "batches";
    case MemoryClass::kCheckpointStaging:
      return "checkpoint staging";
    case MemoryClass::kOffloadStaging:
      return "offload staging";
    case MemoryClass::kUntagged:
      return "untagged";
    case MemoryClass::kOptimizerState:
      break;
  }
  return "optimizer state";
}

std::int64_t MemoryUse::total() const noexcept {
  std::int64_t sum = 0;
  for (const std::int64_t b : bytes) sum += b;
  return sum;
}

std::int64_t MemoryUse::model_state() const noexcept {
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < static_cast<std::size_t>(MemoryClass::kGatherSlots); ++k)
    sum += bytes[k];
  return sum;
}

std::int64_t MemoryUse::optimizer_states() const noexcept {
  std::int64_t sum = 0;
  for (std::size_t state = 0; state < kMaxOptimizerStates; ++state)
    sum += (*this)[optimizer_state_class(state)];
  return sum;
}

MemoryLedger& MemoryLedger::process() noexcept {
  static constinit MemoryLedger ledger;
  return ledger;
}

MemoryLedger& MemoryLedger::device() noexcept {
  static constinit MemoryLedger ledger;
  return ledger;
}

std::int64_t MemoryLedger::now_total() const noexcept {
  std::int64_t total = 0;
  for (std::size_t k = 0; k < kMemoryClasses; ++k) total += now_.bytes[k] - start_.bytes[k];
  return total;
}

MemoryUse MemoryLedger::since_start(MemoryUse use) const noexcept {
  for (std::size_t k = 0; k < kMemoryClasses; ++k) use.bytes[k] -= start_.bytes[k];
  return use;
}

void MemoryLedger::add(MemoryClass kind, std::int64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  now_[kind] += bytes;
  const std::int64_t total = now_total();
  if (watched_ && total > between_total_) {
    between_total_ = total;
    between_ = {ledger_ns(), now_};
  }
  if (total <= largest_) return;
  largest_ = total;
  peak_ = now_;
}

void MemoryLedger::remove(MemoryClass kind, std::int64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  now_[kind] -= bytes;
}

void MemoryLedger::restart() noexcept {
  const std::lock_guard lock(mutex_);
  start_ = now_;
  peak_ = now_;
  largest_ = 0;
}

MemoryUse MemoryLedger::current() const noexcept {
  const std::lock_guard lock(mutex_);
  return since_start(now_);
}

MemoryUse MemoryLedger::at_peak() const noexcept {
  const std::lock_guard lock(mutex_);
  return since_start(peak_);
}

void MemoryLedger::watch_peaks() noexcept {
  const std::lock_guard lock(mutex_);
  watched_ = true;
  between_ = Moment();
  between_total_ = now_total();
}

void MemoryLedger::forget_peaks() noexcept {
  const std::lock_guard lock(mutex_);
  watched_ = false;
}

std::array<MemoryLedger::Moment, 2> MemoryLedger::look() noexcept {
  const std::lock_guard lock(mutex_);
  const Moment now{ledger_ns(), since_start(now_)};
  const std::int64_t total = now_total();
  const bool above = watched_ && between_.ns != 0 && between_total_ > total;
  const Moment peak = above ? Moment{between_.ns, since_start(between_.use)} : now;
  between_ = Moment();
  between_total_ = total;
  return {peak, now};
}

MemoryScope::MemoryScope(MemoryClass kind) noexcept
    : before_(std::exchange(this_thread_class, kind)) {}
MemoryScope::~MemoryScope() { this_thread_class = before_; }
MemoryClass MemoryScope::current() noexcept { return this_thread_class; }

PlanningScope::PlanningScope(MemoryLedger& ledger) noexcept
    : before_(std::exchange(this_thread_plan, &ledger)) {}
PlanningScope::~PlanningScope() { this_thread_plan = before_; }
MemoryLedger* PlanningScope::active() noexcept { return this_thread_plan; }

void note_allocation(void* address, std::size_t bytes) noexcept {
  note_allocation(address, bytes,
                  this_thread_plan != nullptr ? *this_thread_plan : MemoryLedger::process());
}

void note_allocation(void* address, std::size_t bytes, MemoryLedger& ledger) noexcept {
  const Block block{&ledger, this_thread_class, static_cast<std::int64_t>(bytes)};
  ledger.add(block.kind, block.bytes);
  BlockTable& t = table();
  const std::lock_guard lock(t.mutex);
  t.blocks.insert_or_assign(address, block);
}

void note_release(void* address) noexcept {
  BlockTable& t = table();
  Block block{};
  {
    const std::lock_guard lock(t.mutex);
    const auto found = t.blocks.find(address);
    if (found == t.blocks.end()) return;
    block = found->second;
    t.blocks.erase(found);
  }
  block.ledger->remove(block.kind, block.bytes);
}

}  // namespace th::runtime

// C++ blocks of the whole program, LibTorch's own included. The address sanitizer needs its own
// operators.
#if !defined(__SANITIZE_ADDRESS__)

namespace {

void* take(std::size_t bytes, std::size_t alignment) noexcept {
  const std::size_t wanted = bytes == 0 ? 1 : bytes;
  void* block =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(wanted)
          : std::aligned_alloc(alignment, (wanted + alignment - 1) / alignment * alignment);
  // A planned tensor is counted by its allocator; what C++ takes beside it is real memory of the
  // process.
  if (block != nullptr && bytes >= th::runtime::MemoryLedger::kSmallest &&
      th::runtime::PlanningScope::active() == nullptr) {
    th::runtime::note_allocation(block, bytes);
  }
  return block;
}

void* take_or_throw(std::size_t bytes, std::size_t alignment) {
  void* block = take(bytes, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void give(void* block) noexcept {
  if (block != nullptr && malloc_usable_size(block) >= th::runtime::MemoryLedger::kSmallest)
    th::runtime::note_release(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t n) { return take_or_throw(n, 0); }
void* operator new[](std::size_t n) { return take_or_throw(n, 0); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return take(n, 0); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return take(n, 0); }
void* operator new(std::size_t n, std::align_val_t a) {
  return take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return take_or_throw(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { give(p); }
void operator delete[](void* p) noexcept { give(p); }
void operator delete(void* p, std::size_t) noexcept { give(p); }
void operator delete[](void* p, std::size_t) noexcept { give(p); }
void operator delete(void* p, std::align_val_t) noexcept { give(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give(p); }

#endif
