#pragma once

#include <cstdint>
#include <limits>

namespace th::cuda {

/// Threads that share a row, or a column.
constexpr int kRowLanes = 16;

/// What 16 lanes of a GPU do for one row, done by one thread: the same numbers, for tests on machines without a GPU.
class HostLanes {
 public:
  /// value(0) + … + value(n-1), each lane every 16th one, then the lanes in a tree: the CPU's lane_sum (src/model/row_math.hpp).
  template <typename Number, typename Value>
  [[nodiscard]] Number sum(std::int64_t n, const Value& value) const {
    Number lanes[kRowLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) lanes[i % kRowLanes] += value(i);
    for (int w = kRowLanes / 2; w > 0; w /= 2) {
      for (int l = 0; l < w; ++l) lanes[l] += lanes[l + w];
    }
    return lanes[0];
  }
  /// The largest value, -infinity of none; what is not a number is passed over.
  template <typename Value>
  [[nodiscard]] float maximum(std::int64_t n, const Value& value) const {
    float top = -std::numeric_limits<float>::infinity();
    for (std::int64_t i = 0; i < n; ++i) top = value(i) > top ? value(i) : top;
    return top;
  }
  /// body(i) for all i, each by the lane that also sums it.
  template <typename Body>
  void each(std::int64_t n, const Body& body) const {
    for (std::int64_t i = 0; i < n; ++i) body(i);
  }
  /// After a each() whose results another lane reads.
  void meet() const {}
  /// Whether this lane writes what a row has once.
  [[nodiscard]] bool first() const { return true; }
};

/// Runs the kernels' bodies on the host, in place of DeviceLaunch (device_launch.hpp).
struct HostLaunch {
  template <typename Body>
  static void elements(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
  }
  template <typename Body>
  static void rows(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t row = 0; row < n; ++row) body(row, HostLanes());
  }
  template <typename Body>
  static void columns(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t column = 0; column < n; ++column) body(column, HostLanes());
  }
};

}  // namespace th::cuda
