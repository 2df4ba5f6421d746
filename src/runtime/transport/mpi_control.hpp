#pragma once

#include <memory>
#include <string>
#include <vector>

#include <mpi.h>

#include "th/runtime/transport/control_calls.hpp"
#include "th/runtime/transport/node_map.hpp"

namespace th::runtime {

/// An MPI count. Throws InternalError beyond 2^31 - 1.
[[nodiscard]] int as_count(std::int64_t n);

/// The control calls over MPI, with a count of their bytes.
class MpiControl final : public ControlCalls {
 public:
  /// `comm` and `nodes` outlive it.
  MpiControl(MPI_Comm comm, const NodeMap& nodes);

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return size_; }
  void sum_in_rank_order(std::span<double> values) override;
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override;
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override;
  void broadcast(std::string& text, int root) override;
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override;
  void barrier() override;

  /// Payload bytes that this rank sent, by the algorithm's volume: in all, and to other nodes.
  [[nodiscard]] std::int64_t sent() const noexcept { return sent_; }
  [[nodiscard]] std::int64_t between_nodes() const noexcept { return between_; }

 private:
  /// A call that brings `bytes` to each of the other ranks.
  void count(std::int64_t bytes);

  MPI_Comm comm_;
  const NodeMap& nodes_;
  int rank_ = 0, size_ = 1;
  std::int64_t sent_ = 0, between_ = 0;
};

}  // namespace th::runtime
