#pragma once

#include <cstdint>

#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"

// The kernels of one element: body(i) computes result i. Formulas and order of operations are those of src/model/kernels_of_element.inc; a
// test without a GPU runs these bodies on the host and compares bits.
namespace th::cuda {

template <typename T>
struct AddDropout {
  const T *x, *s;
  T* y;
  DropoutDraws draws;
  bool drops;
  TH_HOST_DEVICE void operator()(std::int64_t i) const {
    y[i] = from_float<T>(drops ? to_float(x[i]) + to_float(s[i]) * draws.factor(i) : to_float(x[i]) + to_float(s[i]));
  }
};

/// out[i] = x[i] times the draw; also without dropout, where the factor is 1.
template <typename T>
struct DropElements {
  const T* x;
  T* out;
  DropoutDraws draws;
  TH_HOST_DEVICE void operator()(std::int64_t i) const { out[i] = from_float<T>(to_float(x[i]) * draws.factor(i)); }
};

template <typename T>
struct BiasReluDropout {
  T* h;
  const T* bias;
  std::int64_t columns;
  DropoutDraws draws;
  bool drops;
  TH_HOST_DEVICE void operator()(std::int64_t i) const {
    const float sum = to_float(h[i]) + to_float(bias[i % columns]);
    const float positive = sum < 0.0F ? 0.0F : sum;  // NaN stays
    h[i] = from_float<T>(drops ? positive * draws.factor(i) : positive);
  }
};

template <typename T>
struct ReluDropoutBackward {
  const T* h;
  T* g;
  float scale;
  TH_HOST_DEVICE void operator()(std::int64_t i) const { g[i] = from_float<T>(to_float(h[i]) > 0.0F ? to_float(g[i]) * scale : 0.0F); }
};

/// y[i] += x[i], summed in fp32, in y's type.
template <typename Y, typename X>
struct AddElements {
  Y* y;
  const X* x;
  TH_HOST_DEVICE void operator()(std::int64_t i) const { y[i] = from_float<Y>(to_float(y[i]) + to_float(x[i])); }
};

/// y[i] = x[i] in y's type.
template <typename Y, typename X>
struct ConvertElements {
  const X* x;
  Y* y;
  TH_HOST_DEVICE void operator()(std::int64_t i) const { y[i] = from_float<Y>(to_float(x[i])); }
};

/// Where element i of [B, H, L, K] lies among columns of packed rows [M, stride]; -1: beyond its sentence's end.
struct HeadPlace {
  const std::int64_t* offsets;
  std::int64_t length, heads, width, stride;
  TH_HOST_DEVICE std::int64_t operator()(std::int64_t i) const {
    const std::int64_t k = i % width, row = i / width, t = row % length, head = row / length, b = head / heads;
    if (t >= offsets[b + 1] - offsets[b]) return -1;
    return (offsets[b] + t) * stride + head % heads * width + k;
  }
};

template <typename T>
struct SplitHeads {
  const T* x;
  T* out;
  HeadPlace place;
  float scale;
  TH_HOST_DEVICE void operator()(std::int64_t i) const {
    const std::int64_t at = place(i);
    out[i] = at < 0 ? T{} : from_float<T>(to_float(x[at]) * scale);
  }
};

template <typename T>
struct MergeHeads {
  const T* h;
  T* x;
  HeadPlace place;
  float scale;
  TH_HOST_DEVICE void operator()(std::int64_t i) const {
    const std::int64_t at = place(i);
    if (at >= 0) x[at] = from_float<T>(to_float(h[i]) * scale);
  }
};

template <typename T>
struct Embed {
  const T* weight;
  const std::int64_t* ids;
  const float* position;
  const std::int32_t* places;
  T* y;
  std::int64_t width;
  float scale;
  DropoutDraws draws;
  bool drops;
  TH_HOST_DEVICE void operator()(std::int64_t i) const {
    const std::int64_t m = i / width, d = i % width;
    const float sum = to_float(weight[ids[m] * width + d]) * scale + position[places[m] * width + d];
    y[i] = from_float<T>(drops ? sum * draws.factor(i) : sum);
  }
};

/// One element alone: the sum has the CPU's order.
struct AddTotal {
  const double* x;
  double* out;
  std::int64_t n;
  TH_HOST_DEVICE void operator()(std::int64_t) const {
    double total = 0;
    for (std::int64_t i = 0; i < n; ++i) total += x[i];
    *out += total;
  }
};

}  // namespace th::cuda
