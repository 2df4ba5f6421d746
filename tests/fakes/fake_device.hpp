#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fake_streams.hpp"
#include "th/runtime/device/device.hpp"
#include "th/zero/host_device.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

namespace th_test {

/// A device with memory of its own on the host, for tests: its memory is out of the host's reach (a
/// touch is a crash) but for its own copies and kernels and inside a Kernel, what is enqueued runs
/// at a time that the events allow and that finds most mistakes, and every access of a task is
/// checked (FakeStreams).
class FakeDevice final : public th::runtime::Device {
 public:
  using Pace = FakeStreams::Pace;

  explicit FakeDevice(Pace pace, std::uint64_t seed = 0)
      : streams_(pace, seed, FakeStreams::Compute::kDeferred) {
    streams_.set_memory(
        {[this] { open(); }, [this] { close(); },
         [this](void* to, const void* from, std::int64_t bytes) { move(to, from, bytes); }});
  }
  ~FakeDevice() override { streams_.compute().drain(); }

  [[nodiscard]] FakeStreams& streams() noexcept { return streams_; }
  /// Bytes that are allocated now.
  [[nodiscard]] std::int64_t bytes(th::runtime::Place place) const {
    std::int64_t sum = 0;
    for (const auto& [memory, block] : blocks_) sum += block.place == place ? block.bytes : 0;
    return sum;
  }
  /// Copies that have run, device to host and host to device.
  [[nodiscard]] std::int64_t copied_to_host() const noexcept { return to_host_; }
  [[nodiscard]] std::int64_t copied_to_device() const noexcept { return to_device_; }

  /// While it lives the host is a kernel of the compute stream: device memory can be touched, what
  /// was enqueued there has run, and what is enqueued there meanwhile runs at once.
  class Kernel {
   public:
    explicit Kernel(FakeDevice& device) : kernel_(device.streams_) {}

   private:
    FakeStreams::Kernel kernel_;
  };

  [[nodiscard]] th::runtime::DeviceMemory memory() const noexcept override {
    return th::runtime::DeviceMemory::kOwn;
  }
  [[nodiscard]] void* take(th::runtime::Place place, std::int64_t bytes) override {
    const std::size_t rounded = (static_cast<std::size_t>(bytes) + kPage - 1) / kPage * kPage;
    const bool device = place == th::runtime::Place::kDevice;
    void* memory = mmap(nullptr, rounded, device && open_ == 0 ? PROT_NONE : PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    blocks_[static_cast<std::byte*>(memory)] = {place, bytes, rounded};
    return memory;
  }
  void give(th::runtime::Place, void* memory) noexcept override {
    streams_.drain_all();
    const auto found = blocks_.find(static_cast<std::byte*>(memory));
    munmap(memory, found->second.rounded);
    blocks_.erase(found);
  }
  [[nodiscard]] th::runtime::Stream& host() override { return streams_.host(); }
  [[nodiscard]] th::runtime::Stream& compute() override { return streams_.compute(); }
  [[nodiscard]] std::unique_ptr<th::runtime::Stream> make_stream(th::runtime::StreamUse) override {
    return streams_.add();
  }

  void update(th::runtime::Stream& stream, const th::runtime::UpdateFactors& factors,
              const th::runtime::UpdateOperands& operands) override {
    streams_.run(stream, "update", [=] { th::zero::apply_update(factors, operands); });
  }
  void block_square_sums(th::runtime::Stream& stream, const void* x, th::ElementType type,
                         std::int64_t blocks, double* out) override {
    streams_.run(stream, "block square sums",
                 [=] { th::zero::block_square_sums(x, type, blocks, out); });
  }
  void end_step(th::runtime::Stream& stream, const th::runtime::StepRecords& records) override {
    using Unit = th::runtime::StepRecords::Unit;
    streams_.run(stream, "end of step",
                 [all = records,
                  units = std::vector<Unit>(records.units.begin(), records.units.end())]() mutable {
                   all.units = units;
                   th::zero::end_step(all);
                 });
  }
  void tree_sum(th::runtime::Stream& stream, const th::runtime::TreeSum& sum) override {
    streams_.run(
        stream, "tree sum",
        [sum = th::runtime::TreeSum(sum), leaves = std::vector<th::runtime::TreeLeaf>(
                                              sum.leaves.begin(), sum.leaves.end())]() mutable {
          sum.leaves = leaves;
          th::zero::tree_sum(sum);
        });
  }
  void accumulate(th::runtime::Stream& stream, float* y, const float* x,
                  std::int64_t count) override {
    streams_.run(stream, "accumulate", [=] {
      for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
    });
  }
  void round(th::runtime::Stream& stream, const float* from, th::ElementType type, void* to,
             std::int64_t count) override {
    streams_.run(stream, "round", [=] { th::zero::round_elements(from, type, to, count); });
  }

 private:
  static constexpr std::size_t kPage = 4096;
  struct Block {
    th::runtime::Place place;
    std::int64_t bytes;
    std::size_t rounded;
  };

  void move(void* to, const void* from, std::int64_t bytes) {
    const bool to_device = is_own(to), from_device = is_own(from);
    if (to_device && !from_device) to_device_ += bytes;
    if (!to_device && from_device) to_host_ += bytes;
    std::memmove(to, from, static_cast<std::size_t>(bytes));
  }
  [[nodiscard]] bool is_own(const void* memory) const {
    auto after = blocks_.upper_bound(static_cast<std::byte*>(const_cast<void*>(memory)));
    if (after == blocks_.begin()) return false;
    const auto& [begin, block] = *--after;
    return block.place == th::runtime::Place::kDevice && memory < begin + block.rounded;
  }
  void open() {
    if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    if (--open_ == 0) protect(PROT_NONE);
  }
  void protect(int rights) {
    for (const auto& [memory, block] : blocks_) {
      if (block.place == th::runtime::Place::kDevice) mprotect(memory, block.rounded, rights);
    }
  }

  std::map<std::byte*, Block> blocks_;
  int open_ = 0;
  std::int64_t to_host_ = 0, to_device_ = 0;
  FakeStreams streams_;
};

/// The host as a device whose streams are checked: compute is the caller.
class CheckedHost final : public th::zero::HostDevice {
 public:
  explicit CheckedHost(FakeStreams::Pace pace, std::uint64_t seed = 0) : streams_(pace, seed) {}
  [[nodiscard]] FakeStreams& streams() noexcept { return streams_; }
  [[nodiscard]] th::runtime::Stream& host() override { return streams_.host(); }
  [[nodiscard]] th::runtime::Stream& compute() override { return streams_.host(); }
  [[nodiscard]] std::unique_ptr<th::runtime::Stream> make_stream(th::runtime::StreamUse) override {
    return streams_.add();
  }

 private:
  FakeStreams streams_;
};

}  // namespace th_test
