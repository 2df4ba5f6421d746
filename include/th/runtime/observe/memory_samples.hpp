#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::runtime {

/// The memory counters of a trace: what the ledgers of the process and of its GPU held over some
/// time, with the peaks between two samples. It takes host memory as uses change, in blocks below
/// the ledger's smallest, 6 MiB at most.
class MemorySamples {
 public:
  enum class Of : std::int64_t { kHost, kDevice };
  struct Sample {
    Of of = Of::kHost;
    std::int64_t ns = 0;
    MemoryUse use;
  };
  static constexpr std::int64_t kBlock = 120, kBlocks = 400,
                                kMost = kBlock * kBlocks;  ///< samples, blocks, samples

  /// Both ledgers watch their peaks while this object lives.
  MemorySamples() noexcept;
  ~MemorySamples();
  MemorySamples(const MemorySamples&) = delete;
  MemorySamples& operator=(const MemorySamples&) = delete;

  /// Samples both ledgers. Any thread may call it; nothing happens while another thread samples.
  void take() noexcept;

  // The functions below may be called while nobody samples.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// Samples of each ledger are in the order of their times.
  [[nodiscard]] const Sample& at(std::int64_t place) const noexcept;
  /// The number of samples for which there was no place.
  [[nodiscard]] std::int64_t lost() const noexcept { return lost_; }

 private:
  using Block = std::array<Sample, static_cast<std::size_t>(kBlock)>;
  void take(Of of, MemoryLedger& ledger) noexcept;
  void keep(const Sample& sample) noexcept;

  std::atomic_flag busy_;
  std::array<Block*, static_cast<std::size_t>(kBlocks)> blocks_{};
  std::int64_t size_ = 0, lost_ = 0;
  std::array<MemoryUse, 2> last_{};  ///< by ledger
};

}  // namespace th::runtime
