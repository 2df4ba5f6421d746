#pragma once

#include <chrono>
#include <string>

#include "cuda/handles/cuda_handles.hpp"
#include "th/runtime/transport/control_calls.hpp"

namespace th::cuda {

/// An owned, non-blocking NCCL communicator: no call waits for a peer without a limit, and after a
/// failure the communicator is aborted, so that kernels which wait for a dead peer end. Used by one
/// thread.
class NcclCommunicator {
 public:
  /// Collective over `control`, which carries rank 0's unique id (MPI_Bcast). Uses the current
  /// device. When one rank fails, or does not come within `limit`, every rank that came throws the
  /// same NcclError.
  NcclCommunicator(runtime::ControlCalls& control, std::chrono::duration<double> limit);
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// For a call on the communicator. Throws NcclError after an abort.
  [[nodiscard]] ncclComm_t get() const;
  /// A call's direct answer: aborts and throws NcclError when it is an error.
  void check(ncclResult_t code, const char* call);
  /// Waits until the calls made so far are enqueued on their streams. Aborts and throws NcclError
  /// past the limit.
  void wait_enqueued(const char* call);
  /// Whether a peer or the network failed since: aborts and throws NcclError then. Does not wait.
  void poll(const char* call);
  /// Waits on the host until `event` is reached, polling. Aborts and throws NcclError past the
  /// limit.
  void wait(const Event& event, const char* call);
  /// Ends all that is under way, at once.
  void abort() noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] bool past(Clock::time_point start) const { return Clock::now() - start > limit_; }
  [[noreturn]] void fail(const std::string& message);
  [[nodiscard]] std::string begin(runtime::ControlCalls& control);

  ncclComm_t comm_ = nullptr;
  std::chrono::duration<double> limit_;
  int rank_, size_;
};

/// "NCCL 2.28.9", of the library that is loaded.
[[nodiscard]] std::string nccl_version();

}  // namespace th::cuda
