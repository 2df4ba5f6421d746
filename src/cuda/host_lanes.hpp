#pragma once

#include <cstdint>
#include <limits>

namespace th::cuda {

/// Threads that share a row: the CPU's order.
constexpr int kRowLanes = 16;
/// Threads that share a long row, and strands of a sum over rows, on a GPU.
constexpr int kWideLanes = 256;

/// The lanes' sums added in a tree, half to half.
template <int kLanes, typename Number>
[[nodiscard]] Number join_lanes(Number (&lanes)[kLanes]) {
  for (int w = kLanes / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lanes[l] += lanes[l + w];
  }
  return lanes[0];
}

/// What the lanes of a GPU do for one row, done by one thread: the same numbers, for tests on machines without a GPU.
template <int kLanes>
class HostLanes {
 public:
  /// value(0) + … + value(n-1), each lane every kLanes-th one, then the lanes in a tree: with 16 lanes the CPU's lane_sum (src/model/row_math.hpp).
  template <typename Number, typename Value>
  [[nodiscard]] Number sum(std::int64_t n, const Value& value) const {
    Number lanes[kLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) lanes[i % kLanes] += value(i);
    return join_lanes(lanes);
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
  /// Row number `place` of those that the body reads several times, brought near.
  template <typename T>
  [[nodiscard]] const T* stage(int, const T* row, std::int64_t) const {
    return row;
  }
  /// After a each() whose results another lane reads.
  void meet() const {}
  /// Whether this lane writes what a row has once.
  [[nodiscard]] bool first() const { return true; }
};

/// Runs the kernels' bodies on the host, in place of DeviceLaunch (device_launch.hpp). kWide lanes share long rows and sums over rows: kWideLanes gives a
/// GPU's bits, kRowLanes the CPU's for long rows.
template <int kWide>
struct HostLaunch {
  template <typename Body>
  static void elements(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t i = 0; i < n; ++i) body.template run<1>(i);
  }
  template <typename Body>
  static void rows(const char*, std::int64_t n, std::int64_t, const Body& body, void*) {
    for (std::int64_t row = 0; row < n; ++row) body(row, HostLanes<kRowLanes>());
  }
  template <typename Body>
  static void long_rows(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t row = 0; row < n; ++row) body(row, HostLanes<kWide>());
  }
  template <typename Body>
  static void columns(const char*, const Body& body, void*) {
    for (std::int64_t d = 0; d < body.columns; ++d) {
      float lanes[Body::kSums][kWide] = {};
      for (std::int64_t m = 0; m < body.rows; ++m) {
        float sums[Body::kSums][1];
        for (int s = 0; s < Body::kSums; ++s) sums[s][0] = lanes[s][m % kWide];
        body.template add<1>(m, d, sums);
        for (int s = 0; s < Body::kSums; ++s) lanes[s][m % kWide] = sums[s][0];
      }
      for (int s = 0; s < Body::kSums; ++s) body.write(d, s, join_lanes(lanes[s]));
    }
  }
  template <typename Body>
  static void ids(const char*, const Body& body, void*) {
    for (std::int64_t m = 0; m < body.rows; ++m) {
      if (body.ids[m] == 0) continue;
      for (std::int64_t d = 0; d < body.width; ++d) body.g_weight[body.ids[m] * body.width + d] += body.term(m, d);
    }
  }
  static void total(const char*, const double* x, double* out, std::int64_t n, void*) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += x[i];
    *out += sum;
  }
};

}  // namespace th::cuda
