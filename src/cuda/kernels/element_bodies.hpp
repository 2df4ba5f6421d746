#pragma once

#include <cstdint>
#include <cstring>

#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"

// The kernels of elements: body.run<N>(i) computes results i to i + N - 1, of which a GPU moves 16
// bytes at once (N = kPack, i a multiple of it) where body.packs() allows it. Formulas and order of
// operations are those of src/model/ops/kernels_of_element.inc; a test without a GPU runs these
// bodies on the host and compares bits.
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
struct AddDropout {
  static constexpr int kPack = kPackOf<T>;
  const T *x, *s;
  T* y;
  DropoutDraws draws;
  bool drops;
  [[nodiscard]] bool packs() const { return aligned(x, s, y); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Pack<T, N> a = load<N>(x + i), b = load<N>(s + i);
    Pack<T, N> out;
    for (int j = 0; j < N; ++j) {
      out.at[j] = from_float<T>(drops ? to_float(a.at[j]) + to_float(b.at[j]) * draws.factor(i + j)
                                      : to_float(a.at[j]) + to_float(b.at[j]));
    }
    store<N>(y + i, out);
  }
};

/// out[i] = x[i] times the draw; also without dropout, where the factor is 1.
template <typename T>
struct DropElements {
  static constexpr int kPack = kPackOf<T>;
  const T* x;
  T* out;
  DropoutDraws draws;
  [[nodiscard]] bool packs() const { return aligned(x, out); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    Pack<T, N> a = load<N>(x + i);
    for (int j = 0; j < N; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * draws.factor(i + j));
    store<N>(out + i, a);
  }
};

template <typename T>
struct BiasReluDropout {
  static constexpr int kPack = kPackOf<T>;
  T* h;
  const T* bias;
  std::int64_t columns;
  DropoutDraws draws;
  bool drops;
  [[nodiscard]] bool packs() const { return aligned(h, bias) && columns % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    Pack<T, N> a = load<N>(h + i);
    const Pack<T, N> b = load<N>(bias + divide(i, columns).remainder);
    for (int j = 0; j < N; ++j) {
      const float sum = to_float(a.at[j]) + to_float(b.at[j]);
      const float positive = sum < 0.0F ? 0.0F : sum;  // NaN stays
      a.at[j] = from_float<T>(drops ? positive * draws.factor(i + j) : positive);
    }
    store<N>(h + i, a);
  }
};

template <typename T>
struct ReluDropoutBackward {
  static constexpr int kPack = kPackOf<T>;
  const T* h;
  T* g;
  float scale;
  [[nodiscard]] bool packs() const { return aligned(h, g); }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Pack<T, N> a = load<N>(h + i);
    Pack<T, N> b = load<N>(g + i);
    for (int j = 0; j < N; ++j)
      b.at[j] = from_float<T>(to_float(a.at[j]) > 0.0F ? to_float(b.at[j]) * scale : 0.0F);
    store<N>(g + i, b);
  }
};

/// y[i] += x[i], summed in fp32, in y's type.
template <typename Y, typename X>
struct AddElements {
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

/// y[i] = x[i] in y's type.
template <typename Y, typename X>
struct ConvertElements {
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

/// Where element i of [B, H, L, K] lies among columns of packed rows [M, stride]; -1: beyond its
/// sentence's end.
struct HeadPlace {
  const std::int64_t* offsets;
  std::int64_t length, heads, width, stride;
  TH_HOST_DEVICE std::int64_t operator()(std::int64_t i) const {
    const Division row = divide(i, width), head = divide(row.quotient, length),
                   sentence = divide(head.quotient, heads);
    const std::int64_t k = row.remainder, t = head.remainder, b = sentence.quotient;
    if (t >= offsets[b + 1] - offsets[b]) return -1;
    return (offsets[b] + t) * stride + sentence.remainder * width + k;
  }
};

template <typename T>
struct SplitHeads {
  static constexpr int kPack = kPackOf<T>;
  const T* x;
  T* out;
  HeadPlace place;
  float scale;
  [[nodiscard]] bool packs() const {
    return aligned(x, out) && place.width % kPack == 0 && place.stride % kPack == 0;
  }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const std::int64_t at = place(i);
    Pack<T, N> a{};
    if (at >= 0) {
      a = load<N>(x + at);
      for (int j = 0; j < N; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * scale);
    }
    store<N>(out + i, a);
  }
};

template <typename T>
struct MergeHeads {
  static constexpr int kPack = kPackOf<T>;
  const T* h;
  T* x;
  HeadPlace place;
  float scale;
  [[nodiscard]] bool packs() const {
    return aligned(h, x) && place.width % kPack == 0 && place.stride % kPack == 0;
  }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const std::int64_t at = place(i);
    if (at < 0) return;
    Pack<T, N> a = load<N>(h + i);
    for (int j = 0; j < N; ++j) a.at[j] = from_float<T>(to_float(a.at[j]) * scale);
    store<N>(x + at, a);
  }
};

template <typename T>
struct Embed {
  static constexpr int kPack = kPackOf<T>;
  const T* weight;
  const std::int64_t* ids;
  const float* position;
  const std::int32_t* places;
  T* y;
  std::int64_t width;
  float scale;
  DropoutDraws draws;
  bool drops;
  [[nodiscard]] bool packs() const { return aligned(weight, position, y) && width % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    const Division row = divide(i, width);
    const Pack<T, N> w = load<N>(weight + ids[row.quotient] * width + row.remainder);
    const Pack<float, N> p = load<N>(position + places[row.quotient] * width + row.remainder);
    Pack<T, N> out;
    for (int j = 0; j < N; ++j) {
      const float sum = to_float(w.at[j]) * scale + p.at[j];
      out.at[j] = from_float<T>(drops ? sum * draws.factor(i + j) : sum);
    }
    store<N>(y + i, out);
  }
};

}  // namespace th::cuda
