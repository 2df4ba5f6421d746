#pragma once

#include <memory>
#include <vector>

#include "runtime/transport/mpi_control.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// The count of bytes that are sent as kWordType, words of 4 bytes, so that 8 GiB fit into a call.
[[nodiscard]] int as_words(std::int64_t bytes);
inline const MPI_Datatype kWordType = MPI_UINT32_T;

/// Everything by messages: slices and shards by MPI's all-to-all and all-gather.
class MessageCollectives : public Collectives {
 public:
  /// Collective over `world`.
  MessageCollectives(MPI_Comm world, NodeMap nodes);

  [[nodiscard]] ControlCalls& control() const noexcept override { return *control_; }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t bytes) override;
  [[nodiscard]] std::vector<Contribution> exchange(TransportBuffer& buffer, const RankParts& parts,
                                                   const SubtreeSum* sum) override;
  void finish_exchange() override {}
  void all_gather(TransportBuffer& buffer, const RankParts& parts, std::byte* full,
                  TransportBuffer* within) override;
  void all_reduce_fast(float* data, std::int64_t count) override;
  [[nodiscard]] ByteCounters bytes_sent() const noexcept override;
  [[nodiscard]] ByteCounters bytes_between_nodes() const noexcept override;
  [[nodiscard]] NodeMap nodes() const override { return nodes_; }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return received_ ? received_->bytes() : 0;
  }
  [[nodiscard]] std::string description() const override { return "MPI"; }

 protected:
  using Kind = std::int64_t ByteCounters::*;
  /// A call that brings `bytes` to each of the other ranks, all by messages or in other nodes' case
  /// `between` of them.
  void count(Kind kind, std::int64_t bytes) { count(kind, bytes, bytes * nodes_.outsiders(rank_)); }
  void count(Kind kind, std::int64_t bytes, std::int64_t between) {
    sent_.*kind += bytes * (size_ - 1);
    between_.*kind += between;
  }
  /// A buffer of this rank, at least so large; grown, never shrunk.
  static std::byte* grown(std::unique_ptr<TransportBuffer>& buffer, std::int64_t bytes);

  Communicator comm_;
  int rank_, size_;
  NodeMap nodes_;
  std::unique_ptr<TransportBuffer> received_;

 private:
  std::unique_ptr<MpiControl> control_;
  ByteCounters sent_, between_;  ///< without those of control_
};

}  // namespace th::runtime
