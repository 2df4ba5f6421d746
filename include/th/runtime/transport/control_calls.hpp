#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace th::runtime {

/// How ranks agree: collective calls for scalars and texts, in host memory. Every call is
/// collective over all ranks, in the same order. Errors of MPI or of a peer are thrown as MpiError.
class ControlCalls {
 public:
  virtual ~ControlCalls() = default;
  ControlCalls() = default;
  ControlCalls(const ControlCalls&) = delete;
  ControlCalls& operator=(const ControlCalls&) = delete;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;

  /// Sums doubles in place over the ranks, in rank order, so every rank has the same bits.
  virtual void sum_in_rank_order(std::span<double> values) = 0;
  /// Concatenates `mine` of each rank in rank order. Every rank passes the same count.
  virtual void all_gather_doubles(std::span<const double> mine, std::span<double> all) = 0;
  /// The largest value over the ranks.
  [[nodiscard]] virtual std::int64_t maximum(std::int64_t value) = 0;
  /// Sends the root's bytes to everyone; other ranks' text is replaced.
  virtual void broadcast(std::string& text, int root) = 0;
  /// Every rank's text, in rank order, on every rank.
  [[nodiscard]] virtual std::vector<std::string> gather_texts(const std::string& text) = 0;
  virtual void barrier() = 0;
};

}  // namespace th::runtime
