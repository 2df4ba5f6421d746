#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda/handles/counted_memory.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/transport_memory.hpp"

namespace th::cuda {

/// Memory of another owner, made known to the device while this object lives: copies from and to it
/// go on beside the host.
class PinnedRange {
 public:
  PinnedRange(void* memory, std::int64_t bytes);
  ~PinnedRange() { (void)cudaHostUnregister(memory_); }
  PinnedRange(const PinnedRange&) = delete;
  PinnedRange& operator=(const PinnedRange&) = delete;

 private:
  void* memory_;
};

/// comm.backend=mpi with tensors on a device: buffers and all pointers of the data-moving calls are
/// device memory, which travels piece by piece through pinned host memory and `control` (MPI, or
/// the window of ranks on one node). Ranks may share a GPU, which NCCL refuses. All device work is
/// enqueued on one stream; the host waits for it before `control` reads, so results are those of
/// `control` to the bit, and the caller goes on only when peers have made the call too: compute
/// that is enqueued goes on meanwhile, nothing new is enqueued.
class StagedCollectives final : public runtime::Collectives {
 public:
  static constexpr std::int64_t kPiece = runtime::kStagedPiece;

  /// `control` must outlive this object; every rank gives the same `piece`. Calls are enqueued on
  /// `stream` until use_stream() names another.
  StagedCollectives(runtime::Collectives& control, cudaStream_t stream,
                    std::int64_t piece = kPiece);
  ~StagedCollectives() override;

  [[nodiscard]] runtime::ControlCalls& control() const noexcept override {
    return control_.control();
  }
  /// A CudaStream.
  void use_stream(runtime::Stream* stream) override;
  [[nodiscard]] std::unique_ptr<runtime::TransportBuffer> allocate(std::int64_t bytes) override;
  [[nodiscard]] std::vector<runtime::Contribution> exchange(
      runtime::TransportBuffer& buffer, const runtime::RankParts& parts,
      const runtime::SubtreeSum* sum = nullptr) override;
  /// The pieces are copies: nothing to wait for.
  void finish_exchange() override {}
  void all_gather(runtime::TransportBuffer& buffer, const runtime::RankParts& parts,
                  std::byte* full, runtime::TransportBuffer* within = nullptr) override;
  void all_reduce_fast(float* data, std::int64_t count) override;
  /// Waits for this rank's device first.
  void barrier() override;
  [[nodiscard]] runtime::ByteCounters bytes_sent() const noexcept override {
    return control_.bytes_sent();
  }
  [[nodiscard]] runtime::ByteCounters bytes_between_nodes() const noexcept override {
    return control_.bytes_between_nodes();
  }
  [[nodiscard]] runtime::NodeMap nodes() const override { return control_.nodes(); }
  /// Device memory.
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return received_.bytes();
  }
  [[nodiscard]] std::string description() const override {
    return "staged through pinned host memory, " + control_.description();
  }

 private:
  /// Host memory for pieces of `bytes` a rank. Collective.
  void reserve(std::int64_t bytes);
  void wait();
  /// Runs of bytes whose starts are `pitch` bytes apart.
  template <typename T>
  struct Rows {
    T* first;
    std::int64_t pitch;
  };
  /// Copies `rows` runs of `width` bytes each.
  void copy_rows(Rows<std::byte> to, Rows<const std::byte> from, std::int64_t width,
                 std::int64_t rows, cudaMemcpyKind kind);

  runtime::Collectives& control_;
  cudaStream_t made_with_, stream_;
  std::int64_t piece_, reserved_ = 0;
  /// What peers read: size() * reserved_ bytes.
  std::unique_ptr<runtime::TransportBuffer> leaving_;
  std::optional<PinnedRange> leaving_pinned_;
  Counted<PinnedBuffer> arriving_;  ///< size() * reserved_ bytes
  Counted<DeviceBuffer> received_;  ///< of exchange(): the other ranks' slices
};

}  // namespace th::cuda
