#pragma once

#include <utility>

#include "cuda/handles/cuda_handles.hpp"
#include "th/runtime/plugin/cuda_plugin_abi.hpp"

namespace th::cuda {

/// Where buffers of the transports are entered: the ledger of the program that loaded this library.
/// Without it none are.
void set_ledger(const runtime::LedgerCalls& calls) noexcept;
[[nodiscard]] const runtime::LedgerCalls& ledger() noexcept;

/// An owned DeviceBuffer or PinnedBuffer that the program's ledger knows.
template <class Buffer>
class Counted {
 public:
  Counted() = default;
  Counted(std::int64_t bytes, runtime::CountedAs kind) : buffer_(bytes) {
    constexpr bool kPinned = std::is_same_v<Buffer, PinnedBuffer>;
    if (bytes > 0 && ledger().taken != nullptr) {
      ledger().taken(get(), static_cast<std::size_t>(bytes),
                     kPinned ? runtime::Place::kHost : runtime::Place::kDevice, kind);
    }
  }
  ~Counted() { forget(); }
  Counted(Counted&& other) noexcept : buffer_(std::exchange(other.buffer_, Buffer())) {}
  Counted& operator=(Counted&& other) noexcept {
    if (this == &other) return *this;
    forget();
    buffer_ = std::exchange(other.buffer_, Buffer());
    return *this;
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  [[nodiscard]] void* get() const noexcept { return buffer_.get(); }
  [[nodiscard]] std::int64_t bytes() const noexcept { return buffer_.bytes(); }

 private:
  void forget() noexcept {
    if (bytes() > 0 && ledger().given != nullptr) ledger().given(get());
  }
  Buffer buffer_;
};

}  // namespace th::cuda
