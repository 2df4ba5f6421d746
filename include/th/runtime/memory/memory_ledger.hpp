#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "th/runtime/optimizers/optimizer_rule.hpp"

namespace th::runtime {

/// The use of a buffer. Every large buffer of a run has one of these. A buffer that nobody tagged
/// is kUntagged, and no plan expects it.
enum class MemoryClass {
  kParameters,
  kGradients,
  kMaster,
  kOptimizerState,  ///< the first state; optimizer_state_class() gives the others
  kGatherSlots = kOptimizerState + static_cast<int>(kMaxOptimizerStates),
  kCommunication,
  kActivations,
  kBatches,
  kCheckpointStaging,
  kOffloadStaging,
  kUntagged,
};
inline constexpr std::size_t kMemoryClasses = static_cast<std::size_t>(MemoryClass::kUntagged) + 1;
/// The class of the optimizer's state number `state`, in the order of its rule.
[[nodiscard]] constexpr MemoryClass optimizer_state_class(std::size_t state) noexcept {
  return static_cast<MemoryClass>(static_cast<std::size_t>(MemoryClass::kOptimizerState) + state);
}
/// `states`: the names of the optimizer's states; a state without a name is called "optimizer
/// state".
[[nodiscard]] const char* memory_class_name(MemoryClass kind, StateNames states = {}) noexcept;

/// Bytes by class.
struct MemoryUse {
  std::array<std::int64_t, kMemoryClasses> bytes{};
  [[nodiscard]] std::int64_t& operator[](MemoryClass kind) noexcept {
    return bytes[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] std::int64_t operator[](MemoryClass kind) const noexcept {
    return bytes[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] std::int64_t total() const noexcept;
  /// Bytes of all states of the optimizer.
  [[nodiscard]] std::int64_t optimizer_states() const noexcept;
  /// Parameters, gradients, master weights and the optimizer's states: what ZeRO shards.
  [[nodiscard]] std::int64_t model_state() const noexcept;
};

/// Counts buffers by class as they come and go, and stores the use at the moment of the largest
/// total. Thread-safe.
///
/// The process's own ledger is fed by events, never by a plan: by operator new and delete for
/// blocks of at least kSmallest bytes, by LibTorch's CPU allocator (model/memory/torch_memory.hpp),
/// and by the shared-memory windows. There is one for the process, because there is one of each of
/// those. It does not see what C libraries (MPI, HDF5) take by malloc.
class MemoryLedger {
 public:
  static constexpr std::size_t kSmallest = 16384;  ///< bytes; smaller C++ blocks are not counted

  [[nodiscard]] static MemoryLedger& process() noexcept;
  /// The same for memory of GPUs, fed by LibTorch's device allocators
  /// (model/memory/torch_memory.hpp).
  [[nodiscard]] static MemoryLedger& device() noexcept;
  constexpr MemoryLedger() = default;

  void add(MemoryClass kind, std::int64_t bytes) noexcept;
  void remove(MemoryClass kind, std::int64_t bytes) noexcept;
  /// From here on what is allocated now counts as 0, and the peak begins anew.
  void restart() noexcept;
  /// Use since restart().
  [[nodiscard]] MemoryUse current() const noexcept;
  /// Use by class at the moment when the total was largest since restart().
  [[nodiscard]] MemoryUse at_peak() const noexcept;

  /// The use at a time.
  struct Moment {
    std::int64_t ns = 0;  ///< of monotonic_ns()
    MemoryUse use;
  };
  /// From here on, until forget_peaks(), the ledger also stores the peak between two calls of
  /// look().
  void watch_peaks() noexcept;
  void forget_peaks() noexcept;
  /// Two moments: that of the largest total since the last look, and now. Without a total above
  /// those of both looks, or without watch_peaks(), both are now. For one caller.
  [[nodiscard]] std::array<Moment, 2> look() noexcept;

 private:
  /// The total since restart(). Called with the mutex held, as the next one.
  [[nodiscard]] std::int64_t now_total() const noexcept;
  [[nodiscard]] MemoryUse since_start(MemoryUse use) const noexcept;

  mutable std::mutex mutex_;
  MemoryUse now_, start_, peak_;
  std::int64_t largest_ = 0;
  bool watched_ = false;
  Moment between_;                  ///< the peak since the last look; its use as now_
  std::int64_t between_total_ = 0;  ///< at that peak, or at the look
};

/// Sets the class of what this thread allocates until the scope ends.
class MemoryScope {
 public:
  explicit MemoryScope(MemoryClass kind) noexcept;
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;
  [[nodiscard]] static MemoryClass current() noexcept;

 private:
  MemoryClass before_;
};

/// Until the scope ends, tensors of this thread are counted in `ledger` and have addresses but no
/// memory. Nobody may read or write them.
class PlanningScope {
 public:
  explicit PlanningScope(MemoryLedger& ledger) noexcept;
  ~PlanningScope();
  PlanningScope(const PlanningScope&) = delete;
  PlanningScope& operator=(const PlanningScope&) = delete;
  /// The ledger of this thread's innermost scope; null outside of one.
  [[nodiscard]] static MemoryLedger* active() noexcept;

 private:
  MemoryLedger* before_;
};

/// Reports a block at `address`, in this thread's class, and its end to the ledger. For allocators.
void note_allocation(void* address, std::size_t bytes) noexcept;
void note_allocation(void* address, std::size_t bytes, MemoryLedger& ledger) noexcept;
void note_release(void* address) noexcept;

}  // namespace th::runtime
