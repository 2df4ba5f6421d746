#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "cuda/handles/counted_memory.hpp"
#include "cuda/handles/cuda_stream.hpp"
#include "cuda/transport/nccl_communicator.hpp"
#include "th/runtime/transport/collectives.hpp"

namespace th::cuda {

/// The transport over NCCL. Buffers and all pointers of the data-moving calls are memory of this
/// rank's device; the calls are enqueued on one stream, and return without waiting for the device.
/// Doubles, texts, the barrier and the maximum go to `control` (MPI on host memory). An error of
/// NCCL or of a peer surfaces as NcclError at the next call, or where the host waits for the
/// device; the communicator is aborted then.
class NcclCollectives final : public runtime::Collectives {
 public:
  /// Collective over `control`, which must outlive this object. Calls are enqueued on `stream`
  /// until use_stream() names another. Throws the same NcclError on every rank.
  NcclCollectives(runtime::Collectives& control, std::chrono::duration<double> limit,
                  cudaStream_t stream);
  ~NcclCollectives() override;

  [[nodiscard]] runtime::ControlCalls& control() const noexcept override {
    return control_.control();
  }
  /// A CudaStream: while it is used the host watches for failures of peers wherever it waits for
  /// the streams of its device.
  void use_stream(runtime::Stream* stream) override;
  [[nodiscard]] std::unique_ptr<runtime::TransportBuffer> allocate(std::int64_t bytes) override;
  [[nodiscard]] std::vector<runtime::Contribution> exchange(
      runtime::TransportBuffer& buffer, const runtime::RankParts& parts,
      const runtime::SubtreeSum* sum = nullptr) override;
  void finish_exchange() override;
  void all_gather(runtime::TransportBuffer& buffer, const runtime::RankParts& parts,
                  std::byte* full, runtime::TransportBuffer* within = nullptr) override;
  void all_reduce_fast(float* data, std::int64_t count) override;

  /// Waits for this rank's device first.
  void barrier() override;
  [[nodiscard]] runtime::ByteCounters bytes_sent() const noexcept override;
  [[nodiscard]] runtime::NodeMap nodes() const override { return control_.nodes(); }
  /// Device memory.
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return received_.bytes();
  }
  [[nodiscard]] std::string description() const override { return nccl_version(); }

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }
  [[nodiscard]] NcclCommunicator& communicator() noexcept { return communicator_; }
  /// Waits on the host for the stream, watching for failures of peers.
  void synchronize();
  /// Gives the receive buffer back, which the next exchange makes as large as it needs. Waits.
  void release_buffer();

 private:
  runtime::Collectives& control_;
  int rank_, size_;
  cudaStream_t made_with_, stream_;
  std::shared_ptr<StreamContext> watched_;  ///< of the stream that is used
  Counted<DeviceBuffer> received_;
  NcclCommunicator communicator_;
  runtime::ByteCounters moved_;  // data only
  std::int64_t control_before_;  // what `control_` had sent before this object
};

/// Collective: one call of each kind with a known answer, and a send to the next rank, timed.
/// Returns the rates; throws NcclError, on every rank, when an answer is wrong.
[[nodiscard]] std::string self_test(NcclCollectives& nccl);

}  // namespace th::cuda
