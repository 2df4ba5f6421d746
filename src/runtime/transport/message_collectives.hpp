#pragma once

#include <memory>
#include <vector>

#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// An MPI count. Throws InternalError beyond 2^31 - 1.
[[nodiscard]] int as_count(std::int64_t n);

/// Everything by messages: the small calls, and slices and shards by MPI's all-to-all and
/// all-gather.
class MessageCollectives : public Collectives {
 public:
  /// Collective over `world`.
  MessageCollectives(MPI_Comm world, NodeMap nodes);

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) override;
  [[nodiscard]] std::vector<const float*> exchange(TransportBuffer& buffer, std::int64_t offset,
                                                   std::int64_t slice) override;
  void finish_exchange() override {}
  void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                  std::int64_t slice, float* full) override;
  void sum_in_rank_order(std::span<double> values) override;
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override;
  void all_reduce_fast(float* data, std::int64_t count) override;
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override;
  void broadcast(std::string& text, int root) override;
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override;
  void barrier() override { check_mpi(MPI_Barrier(comm_.get()), "MPI_Barrier"); }
  [[nodiscard]] const ByteCounters& bytes_sent() const noexcept override { return sent_; }
  [[nodiscard]] ByteCounters bytes_between_nodes() const noexcept override { return between_; }
  [[nodiscard]] NodeMap nodes() const override { return nodes_; }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return received_ ? received_->elements() * 4 : 0;
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
  static float* grown(std::unique_ptr<TransportBuffer>& buffer, std::int64_t elements);

  Communicator comm_;
  int rank_, size_;
  NodeMap nodes_;
  std::unique_ptr<TransportBuffer> received_;

 private:
  ByteCounters sent_, between_;
};

}  // namespace th::runtime
