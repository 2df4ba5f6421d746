#pragma once

#include <cstdint>
#include <limits>

#include "th/base/half_float.hpp"

namespace th::cuda {

/// Threads that share a row: the CPU's order.
constexpr int kRowLanes = 16;
/// Threads that share a long row on a GPU, and strands of a sum over rows.
constexpr int kWideLanes = 256, kColumnLanes = 512;
/// Threads of a GPU that share a row of whole packs, which they keep in registers.
constexpr int kPackedLanes = 32;

/// Packs of a row that each of kPackedLanes threads keeps; 0: rows of so many columns are not kept.
template <typename T>
constexpr int packs_of_lane(std::int64_t columns) {
  constexpr std::int64_t kPack = 16 / static_cast<std::int64_t>(sizeof(T)), kMostValues = 32;
  const std::int64_t packs = columns / (kPackedLanes * kPack);
  return columns % (kPackedLanes * kPack) == 0 && packs * kPack <= kMostValues
             ? static_cast<int>(packs)
             : 0;
}

/// In which order lanes add: a GPU's, and the CPU's.
struct GpuOrder {
  static constexpr int kLong = kWideLanes, kColumns = kColumnLanes;
  static constexpr bool kPacked = true;
};
struct CpuOrder {
  static constexpr int kLong = kRowLanes, kColumns = kRowLanes;
  static constexpr bool kPacked = false;
};

/// The lanes' sums added in a tree, half to half.
template <int kLanes, typename Number>
[[nodiscard]] Number join_lanes(Number (&lanes)[kLanes]) {
  for (int w = kLanes / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lanes[l] += lanes[l + w];
  }
  return lanes[0];
}

/// What the lanes of a GPU do for one row, done by one thread: the same numbers, for tests on
/// machines without a GPU.
template <int kLanes, int kChunk = 1>
class HostLanes {
 public:
  /// value(0) + … + value(n-1), each lane every kLanes-th chunk, then the lanes in a tree: with 16
  /// lanes the CPU's lane_sum (src/model/ops/row_math.hpp).
  template <typename Number, typename Value>
  [[nodiscard]] Number sum(std::int64_t n, const Value& value) const {
    Number lanes[kLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) lanes[i / kChunk % kLanes] += value(i);
    return join_lanes(lanes);
  }
  template <typename T>
  struct Row {
    const T* values;
    [[nodiscard]] float at(int, std::int64_t d) const { return to_float(values[d]); }
  };
  /// A row that is read several times.
  template <typename T>
  [[nodiscard]] Row<T> row(const T* values) const {
    return {values};
  }
  template <typename Value>
  [[nodiscard]] float sum_row(std::int64_t n, const Value& value) const {
    return sum<float>(n, [&](std::int64_t i) { return value(0, i); });
  }
  template <typename T, typename Value>
  void store_row(T* to, std::int64_t n, const Value& value) const {
    for (std::int64_t i = 0; i < n; ++i) to[i] = from_float<T>(value(0, i));
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

/// Runs the kernels' bodies on the host, in place of DeviceLaunch (device_launch.hpp). With
/// GpuOrder they have a GPU's bits, with CpuOrder the CPU's but for sums over rows.
template <typename Order>
struct HostLaunch {
  template <typename Body>
  static void elements(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t i = 0; i < n; ++i) body.template run<1>(i);
  }
  template <typename Body>
  static void rows(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t row = 0; row < n; ++row) body(row, HostLanes<kRowLanes>());
  }
  template <typename Body>
  static void kept_rows(const char* name, std::int64_t n, const Body& body, void* stream) {
    using T = typename Body::Element;
    if (!Order::kPacked || packs_of_lane<T>(body.columns) == 0) return rows(name, n, body, stream);
    for (std::int64_t row = 0; row < n; ++row) body(row, HostLanes<kPackedLanes, 16 / sizeof(T)>());
  }
  template <typename Body>
  static void long_rows(const char*, std::int64_t n, const Body& body, void*) {
    for (std::int64_t row = 0; row < n; ++row) body(row, HostLanes<Order::kLong>());
  }
  template <typename Body>
  static void columns(const char*, const Body& body, void*) {
    for (std::int64_t d = 0; d < body.columns; ++d) {
      float lanes[Body::kSums][Order::kColumns] = {};
      for (std::int64_t m = 0; m < body.rows; ++m) {
        float sums[Body::kSums][1];
        for (int s = 0; s < Body::kSums; ++s) sums[s][0] = lanes[s][m % Order::kColumns];
        body.template add<1>(m, d, sums);
        for (int s = 0; s < Body::kSums; ++s) lanes[s][m % Order::kColumns] = sums[s][0];
      }
      for (int s = 0; s < Body::kSums; ++s) body.write(d, s, join_lanes(lanes[s]));
    }
  }
  template <typename Body>
  static void ids(const char*, const Body& body, void*) {
    for (std::int64_t m = 0; m < body.rows; ++m) {
      if (body.skips(body.ids[m])) continue;
      for (std::int64_t d = 0; d < body.width; ++d)
        body.g_weight[body.ids[m] * body.width + d] += body.term(m, d);
    }
  }
  static void total(const char*, const double* x, double* out, std::int64_t n, void*) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += x[i];
    *out += sum;
  }
};

}  // namespace th::cuda
