#pragma once

#include <cstdint>
#include <cstring>

#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"
#include "th/runtime/ops/operands.hpp"

// The device's bodies of ops on elements: body.run<N>(i) computes results i to i + N - 1, of which
// a GPU moves 16 bytes at once (N = kPack, i a multiple of it) where body.packs() allows it.
// Formulas and order of operations are those of src/model/ops/host_elements.hpp; a test without a
// GPU runs these bodies on the host and compares bits. launch<Launch>(operands, stream) runs an op
// by its bodies: Launch is DeviceLaunch in the plugin, HostLaunch in tests and the stand-in.
namespace th::cuda {

/// N neighbouring elements.
template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T at[N];
};

template <int N, typename T>
TH_HOST_DEVICE Pack<T, N> load(const T* from) {
#ifdef __CUDA_ARCH__
  return *reinterpret_cast<const Pack<T, N>*>(from);
#else
  Pack<T, N> out;
  std::memcpy(out.at, from, sizeof(out.at));
  return out;
#endif
}

template <int N, typename T>
TH_HOST_DEVICE void store(T* to, const Pack<T, N>& pack) {
#ifdef __CUDA_ARCH__
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
#else
  std::memcpy(to, pack.at, sizeof(pack.at));
#endif
}

/// Elements of T in 16 bytes.
template <typename T>
inline constexpr int kPackOf = 16 / static_cast<int>(sizeof(T));

/// Whether all arrays begin at 16 bytes.
template <typename... T>
bool aligned(const T*... arrays) {
  return ((reinterpret_cast<std::uintptr_t>(arrays) % 16 == 0) && ...);
}

/// i / d and i % d; by the GPU's 32-bit division where that is enough.
struct Division {
  std::int64_t quotient, remainder;
};
TH_HOST_DEVICE inline Division divide(std::int64_t i, std::int64_t d) {
  if (((i | d) >> 32) != 0) return {i / d, i % d};
  const auto a = static_cast<std::uint32_t>(i), b = static_cast<std::uint32_t>(d);
  const std::uint32_t quotient = a / b;
  return {quotient, a - quotient * b};
}

template <typename T>
struct AddDropoutBody {
  static constexpr int kPack = kPackOf<T>;
  op::AddDropout<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return aligned(o.x, o.s, o.y); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Pack<T, N> a = load<N>(o.x + i), b = load<N>(o.s + i);
    const bool drops = o.dropout.rate != 0.0F;
    Pack<T, N> out;
    for (int j = 0; j < N; ++j) {
      out.at[j] = from_float<T>(drops ? to_float(a.at[j]) + to_float(b.at[j]) * draws.factor(i + j)
                                      : to_float(a.at[j]) + to_float(b.at[j]));
    }
    store<N>(o.y + i, out);
  }
};
template <typename Launch, typename T>
void launch(const op::AddDropout<T>& o, void* stream) {
  Launch::elements("add_dropout", o.count, AddDropoutBody<T>{o, DropoutDraws(o.dropout)}, stream);
}

/// Also without dropout, where the factor is 1.
template <typename T>
struct ApplyDropoutBody {
  static constexpr int kPack = kPackOf<T>;
  op::ApplyDropout<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return aligned(o.x, o.out); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    Pack<T, N> a = load<N>(o.x + i);
    for (int j = 0; j < N; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * draws.factor(i + j));
    store<N>(o.out + i, a);
  }
};
template <typename Launch, typename T>
void launch(const op::ApplyDropout<T>& o, void* stream) {
  Launch::elements("apply_dropout", o.count, ApplyDropoutBody<T>{o, DropoutDraws(o.dropout)},
                   stream);
}

template <typename T>
struct BiasReluDropoutBody {
  static constexpr int kPack = kPackOf<T>;
  op::BiasReluDropout<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return aligned(o.h, o.bias) && o.columns % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    Pack<T, N> a = load<N>(o.h + i);
    const Pack<T, N> b = load<N>(o.bias + divide(i, o.columns).remainder);
    const bool drops = o.dropout.rate != 0.0F;
    for (int j = 0; j < N; ++j) {
      const float sum = to_float(a.at[j]) + to_float(b.at[j]);
      const float positive = sum < 0.0F ? 0.0F : sum;  // NaN stays
      a.at[j] = from_float<T>(drops ? positive * draws.factor(i + j) : positive);
    }
    store<N>(o.h + i, a);
  }
};
template <typename Launch, typename T>
void launch(const op::BiasReluDropout<T>& o, void* stream) {
  Launch::elements("bias_relu_dropout", o.rows * o.columns,
                   BiasReluDropoutBody<T>{o, DropoutDraws(o.dropout)}, stream);
}

template <typename T>
struct ReluDropoutBackwardBody {
  static constexpr int kPack = kPackOf<T>;
  op::ReluDropoutBackward<T> o;
  float scale;
  [[nodiscard]] bool packs() const { return aligned(o.h, o.g); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Pack<T, N> a = load<N>(o.h + i);
    Pack<T, N> b = load<N>(o.g + i);
    for (int j = 0; j < N; ++j)
      b.at[j] = from_float<T>(to_float(a.at[j]) > 0.0F ? to_float(b.at[j]) * scale : 0.0F);
    store<N>(o.g + i, b);
  }
};
template <typename Launch, typename T>
void launch(const op::ReluDropoutBackward<T>& o, void* stream) {
  const float scale = o.dropout.rate == 0.0F ? 1.0F : 1.0F / (1.0F - o.dropout.rate);
  Launch::elements("relu_dropout_backward", o.count, ReluDropoutBackwardBody<T>{o, scale}, stream);
}

/// y[i] += x[i], summed in fp32, in y's type.
template <typename Y, typename X>
struct AddBody {
  static constexpr int kPack = kPackOf<X>;
  Y* y;
  const X* x;
  [[nodiscard]] bool packs() const { return aligned(y, x); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Pack<X, N> a = load<N>(x + i);
    Pack<Y, N> sum = load<N>(y + i);
    for (int j = 0; j < N; ++j) sum.at[j] = from_float<Y>(to_float(sum.at[j]) + to_float(a.at[j]));
    store<N>(y + i, sum);
  }
};
template <typename Launch, typename T>
void launch(const op::AddTo<T>& o, void* stream) {
  Launch::elements("add_to", o.count, AddBody<T, T>{o.y, o.x}, stream);
}
template <typename Launch, typename T>
void launch(const op::Accumulate<T>& o, void* stream) {
  Launch::elements("accumulate", o.count, AddBody<float, T>{o.y, o.x}, stream);
}

/// y[i] = x[i] in y's type.
template <typename Y, typename X>
struct ConvertBody {
  static constexpr int kPack = sizeof(X) < sizeof(Y) ? kPackOf<X> : kPackOf<Y>;
  const X* x;
  Y* y;
  [[nodiscard]] bool packs() const { return aligned(x, y); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Pack<X, N> a = load<N>(x + i);
    Pack<Y, N> out;
    for (int j = 0; j < N; ++j) out.at[j] = from_float<Y>(to_float(a.at[j]));
    store<N>(y + i, out);
  }
};
template <typename Launch, typename T>
void launch(const op::Widen<T>& o, void* stream) {
  Launch::elements("widen", o.count, ConvertBody<float, T>{o.x, o.y}, stream);
}
template <typename Launch, typename T>
void launch(const op::Narrow<T>& o, void* stream) {
  Launch::elements("narrow", o.count, ConvertBody<T, float>{o.x, o.y}, stream);
}

/// Where element i of [B, H, L, K] lies among columns of packed rows [M, stride]; -1: beyond its
/// sentence's end.
template <typename Operands>
TH_HOST_DEVICE std::int64_t packed_place(const Operands& o, std::int64_t i) {
  const Division row = divide(i, o.width), head = divide(row.quotient, o.length),
                 sentence = divide(head.quotient, o.heads);
  const std::int64_t k = row.remainder, t = head.remainder, b = sentence.quotient;
  if (t >= o.rows(b)) return -1;
  return (o.first_row(b) + t) * o.stride + sentence.remainder * o.width + k;
}

template <typename T>
struct SplitHeadsBody {
  static constexpr int kPack = kPackOf<T>;
  op::SplitHeads<T> o;
  [[nodiscard]] bool packs() const {
    return aligned(o.x, o.out) && o.width % kPack == 0 && o.stride % kPack == 0;
  }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const std::int64_t at = packed_place(o, i);
    Pack<T, N> a{};
    if (at >= 0) {
      a = load<N>(o.x + at);
      for (int j = 0; j < N; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * o.scale);
    }
    store<N>(o.out + i, a);
  }
};
template <typename Launch, typename T>
void launch(const op::SplitHeads<T>& o, void* stream) {
  Launch::elements("split_heads", o.batch * o.heads * o.length * o.width, SplitHeadsBody<T>{o},
                   stream);
}

template <typename T>
struct MergeHeadsBody {
  static constexpr int kPack = kPackOf<T>;
  op::MergeHeads<T> o;
  [[nodiscard]] bool packs() const {
    return aligned(o.h, o.x) && o.width % kPack == 0 && o.stride % kPack == 0;
  }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const std::int64_t at = packed_place(o, i);
    if (at < 0) return;
    Pack<T, N> a = load<N>(o.h + i);
    if (o.add) {
      const Pack<T, N> before = load<N>(o.x + at);
      for (int j = 0; j < N; ++j)
        a.at[j] = from_float<T>(to_float(before.at[j]) + to_float(a.at[j]) * o.scale);
    } else {
      for (int j = 0; j < N; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * o.scale);
    }
    store<N>(o.x + at, a);
  }
};
template <typename Launch, typename T>
void launch(const op::MergeHeads<T>& o, void* stream) {
  Launch::elements("merge_heads", o.batch * o.heads * o.length * o.width, MergeHeadsBody<T>{o},
                   stream);
}

/// One pair of columns of a head.
template <typename T>
struct RotatePositionsBody {
  static constexpr int kPack = 1;
  op::RotatePositions<T> o;
  [[nodiscard]] bool packs() const { return false; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    static_assert(N == 1);
    const std::int64_t half = o.width / 2;
    const Division head = divide(i, half), row = divide(head.quotient, o.heads);
    T* columns = o.x + row.quotient * o.stride + row.remainder * o.width;
    T &first = columns[o.rule.first(head.remainder)],
      &second = columns[o.rule.second(head.remainder, o.width)];
    float a = to_float(first), b = to_float(second);
    o.rule.rotate(head.remainder, o.width, o.places[row.quotient], o.direction, a, b);
    first = from_float<T>(a);
    second = from_float<T>(b);
  }
};
template <typename Launch, typename T>
void launch(const op::RotatePositions<T>& o, void* stream) {
  Launch::elements("rotate_positions", o.rows * o.heads * (o.width / 2), RotatePositionsBody<T>{o},
                   stream);
}

/// Rows from their places (kTake) or to them.
template <typename T, bool kTake>
struct MoveRowsBody {
  static constexpr int kPack = kPackOf<T>;
  const T* x;
  const std::int64_t* rows;
  T* y;
  std::int64_t width;
  [[nodiscard]] bool packs() const { return aligned(x, y) && width % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Division row = divide(i, width);
    const std::int64_t there = rows[row.quotient] * width + row.remainder;
    store<N>(y + (kTake ? i : there), load<N>(x + (kTake ? there : i)));
  }
};
template <typename Launch, typename T>
void launch(const op::TakeRows<T>& o, void* stream) {
  Launch::elements("take_rows", o.count * o.width, MoveRowsBody<T, true>{o.x, o.rows, o.y, o.width},
                   stream);
}
template <typename Launch, typename T>
void launch(const op::SpreadRows<T>& o, void* stream) {
  Launch::elements("spread_rows", o.count * o.width,
                   MoveRowsBody<T, false>{o.x, o.rows, o.y, o.width}, stream);
}

template <typename T>
struct EmbedBody {
  static constexpr int kPack = kPackOf<T>;
  op::Embed<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const {
    return aligned(o.weight, o.position, o.y) && o.width % kPack == 0;
  }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Division row = divide(i, o.width);
    const Pack<T, N> w = load<N>(o.weight + o.ids[row.quotient] * o.width + row.remainder);
    Pack<float, N> p{};
    if (o.position != nullptr)
      p = load<N>(o.position + o.places[row.quotient] * o.width + row.remainder);
    const bool drops = o.dropout.rate != 0.0F;
    const float scale = o.ids[row.quotient] == o.zero_id ? 0.0F : o.scale;
    Pack<T, N> out;
    for (int j = 0; j < N; ++j) {
      const float scaled = to_float(w.at[j]) * scale;
      const float sum = o.position != nullptr ? scaled + p.at[j] : scaled;
      out.at[j] = from_float<T>(drops ? sum * draws.factor(i + j) : sum);
    }
    store<N>(o.y + i, out);
  }
};
template <typename Launch, typename T>
void launch(const op::Embed<T>& o, void* stream) {
  Launch::elements("embed", o.rows * o.width, EmbedBody<T>{o, DropoutDraws(o.dropout)}, stream);
}

/// One element of the table: the sentences that reach its place, in their order.
template <typename T>
struct PositionsBackwardBody {
  static constexpr int kPack = 1;
  op::PositionsBackward<T> o;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return false; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    static_assert(N == 1);
    const bool drops = o.dropout.rate != 0.0F;
    const std::int64_t place = i / o.width;
    float sum = o.g_position[i];
    for (std::int64_t b = 0; b < o.batch; ++b) {
      if (place >= o.offsets[b + 1] - o.offsets[b]) continue;
      const std::int64_t at = o.offsets[b] * o.width + i;
      sum += to_float(o.g[at]) * (drops ? draws.factor(at) : 1.0F);
    }
    o.g_position[i] = sum;
  }
};
template <typename Launch, typename T>
void launch(const op::PositionsBackward<T>& o, void* stream) {
  Launch::elements("positions_backward", o.length * o.width,
                   PositionsBackwardBody<T>{o, DropoutDraws(o.dropout)}, stream);
}

}  // namespace th::cuda
