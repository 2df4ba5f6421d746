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

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  /// A CudaStream: while it is used the host watches for failures of peers wherever it waits for
  /// the streams of its device.
  void use_stream(runtime::Stream* stream) override;
  [[nodiscard]] std::unique_ptr<runtime::TransportBuffer> allocate(std::int64_t elements) override;
  [[nodiscard]] std::vector<const float*> exchange(runtime::TransportBuffer& buffer,
                                                   std::int64_t offset,
                                                   std::int64_t slice) override;
  void finish_exchange() override;
  void all_gather(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                  std::int64_t slice, float* full) override;
  void all_reduce_fast(float* data, std::int64_t count) override;

  void sum_in_rank_order(std::span<double> values) override { control_.sum_in_rank_order(values); }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    control_.all_gather_doubles(mine, all);
  }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override {
    return control_.maximum(value);
  }
  void broadcast(std::string& text, int root) override { control_.broadcast(text, root); }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    return control_.gather_texts(text);
  }
  /// Waits for this rank's device first.
  void barrier() override;
  [[nodiscard]] const runtime::ByteCounters& bytes_sent() const noexcept override;
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
  runtime::ByteCounters moved_;          // data only
  mutable runtime::ByteCounters bytes_;  // with the control calls of `control_`
  std::int64_t control_before_;          // what `control_` had sent before this object
};

/// Collective: one call of each kind with a known answer, and a send to the next rank, timed.
/// Returns the rates; throws NcclError, on every rank, when an answer is wrong.
[[nodiscard]] std::string self_test(NcclCollectives& nccl);

}  // namespace th::cuda
