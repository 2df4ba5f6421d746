#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "nccl_communicator.hpp"
#include "th/runtime/collectives.hpp"

namespace th::cuda {

/// When work on the compute stream may use what a data-moving call brought.
enum class Joining {
  kEachCall,  ///< at once: the compute stream waits for each call
  kExplicit,  ///< after join(): calls overlap with computation; what follows them at once (the ordered sum) goes on stream()
};

/// The transport over NCCL. Buffers and all pointers of the data-moving calls are memory of this rank's device; the calls are enqueued on
/// a communication stream behind what the compute stream holds so far, and return without waiting for the device. Doubles, texts, the
/// barrier and the maximum go to `control` (MPI on host memory).
/// An error of NCCL or of a peer surfaces as NcclError at the next call, or in synchronize(); the communicator is aborted then.
class NcclCollectives final : public runtime::Collectives {
 public:
  /// Collective over `control`, which must outlive this object. Throws the same NcclError on every rank.
  NcclCollectives(runtime::Collectives& control, std::chrono::duration<double> limit, cudaStream_t compute);
  ~NcclCollectives() override;

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  [[nodiscard]] std::unique_ptr<runtime::TransportBuffer> allocate(std::int64_t elements) override;
  [[nodiscard]] std::vector<const float*> exchange(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override;
  void finish_exchange() override;
  void all_gather(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t stride, std::int64_t slice, float* full) override;
  [[nodiscard]] std::vector<const float*> shards(runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override;
  void all_reduce_fast(float* data, std::int64_t count) override;

  void sum_in_rank_order(std::span<double> values) override { control_.sum_in_rank_order(values); }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override { control_.all_gather_doubles(mine, all); }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override { return control_.maximum(value); }
  void broadcast(std::string& text, int root) override { control_.broadcast(text, root); }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override { return control_.gather_texts(text); }
  /// Waits for this rank's device first.
  void barrier() override;
  [[nodiscard]] const runtime::ByteCounters& bytes_sent() const noexcept override;
  [[nodiscard]] runtime::NodeMap nodes() const override { return control_.nodes(); }
  /// Device memory.
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override { return received_.bytes(); }
  [[nodiscard]] std::string description() const override { return nccl_version(); }

  void set_joining(Joining joining) noexcept { joining_ = joining; }
  /// The compute stream goes on only after all communication enqueued so far. The host does not wait.
  void join();
  /// The communication stream.
  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_.get(); }
  [[nodiscard]] cudaStream_t compute() const noexcept { return compute_; }
  [[nodiscard]] NcclCommunicator& communicator() noexcept { return communicator_; }
  /// Waits on the host for both streams, watching for failures of peers.
  void synchronize();

 private:
  void follow_compute();
  void enqueued(const char* call);

  runtime::Collectives& control_;
  int rank_, size_;
  cudaStream_t compute_;
  Stream stream_{StreamPriority::kHigh};
  Event compute_done_, communication_done_;
  DeviceBuffer received_;
  NcclCommunicator communicator_;
  Joining joining_ = Joining::kEachCall;
  bool exchanging_ = false;
  runtime::ByteCounters moved_;          // data only
  mutable runtime::ByteCounters bytes_;  // with the control calls of `control_`
  std::int64_t control_before_;          // what `control_` had sent before this object
};

/// Collective: one call of each kind with a known answer, and a send to the next rank, timed. Returns the rates; throws NcclError, on
/// every rank, when an answer is wrong.
[[nodiscard]] std::string self_test(NcclCollectives& nccl);

}  // namespace th::cuda
