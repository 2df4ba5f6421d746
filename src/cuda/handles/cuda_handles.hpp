#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "th/base/error.hpp"

namespace th::cuda {

/// An NCCL call failed, or a peer did: exit 7.
class NcclError : public CommunicationError {
 public:
  using CommunicationError::CommunicationError;
};

/// Throws DeviceError with the call's name and CUDA's own name and text unless `code` is
/// cudaSuccess.
void check_cuda(cudaError_t code, const char* call);
/// Throws NcclError with the call's name, NCCL's text and, where `comm` has one, its last message,
/// unless `code` is ncclSuccess or ncclInProgress (the normal answer of a non-blocking
/// communicator).
void check_nccl(ncclResult_t code, const char* call, ncclComm_t comm = nullptr);

enum class StreamPriority { kNormal, kHigh };

/// An owned stream that does not wait for the default stream.
class Stream {
 public:
  explicit Stream(StreamPriority priority = StreamPriority::kNormal);
  [[nodiscard]] cudaStream_t get() const noexcept { return handle_.get(); }
  void synchronize() const;

 private:
  struct Free {
    void operator()(cudaStream_t stream) const noexcept { (void)cudaStreamDestroy(stream); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Free> handle_;
};

enum class EventKind { kOrder, kTimed };

/// An owned event: a point in a stream that other streams wait for, or (kTimed) a time stamp.
class Event {
 public:
  explicit Event(EventKind kind = EventKind::kOrder);
  void record(cudaStream_t stream) const;
  /// `stream` goes on only when this event's last record is reached; the host does not wait.
  void make_wait(cudaStream_t stream) const;
  [[nodiscard]] bool reached() const;
  /// The host waits for the last record.
  void synchronize() const;
  /// Seconds between two reached events of kind kTimed.
  [[nodiscard]] static double seconds(const Event& from, const Event& to);

 private:
  struct Free {
    void operator()(cudaEvent_t event) const noexcept { (void)cudaEventDestroy(event); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Free> handle_;
};

/// Owned device memory, not initialised; 256-byte aligned. Throws MemoryError, naming what is free,
/// when there is not enough.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::int64_t bytes);
  [[nodiscard]] void* get() const noexcept { return memory_.get(); }
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

 private:
  struct Free {
    void operator()(void* memory) const noexcept { (void)cudaFree(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::int64_t bytes_ = 0;
};

/// Owned host memory that the device can read and write while the host goes on. Throws MemoryError.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::int64_t bytes);
  [[nodiscard]] void* get() const noexcept { return memory_.get(); }
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

 private:
  struct Free {
    void operator()(void* memory) const noexcept { (void)cudaFreeHost(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::int64_t bytes_ = 0;
};

/// Bytes of the current device that are free; 0: unknown.
[[nodiscard]] std::int64_t free_memory();

}  // namespace th::cuda
