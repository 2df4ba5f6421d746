#include "model/products/kernels/int8_kernel.hpp"

#include "model/ops/row_math.hpp"
#include "model/ops/vectors.hpp"
#include "model/products/kernels/dot_tiles.hpp"

#include <cstring>
#include <limits>

#include <immintrin.h>

// Instructions by name stand here, in bf16_kernel.cpp and in amx_kernel.cpp alone: a compiler makes
// dot products of four bytes of loops, but then with a sum over lanes for each element, which costs
// half of the time at 512 inputs.
namespace th::model::TH_ISA {

namespace {

static_assert(kLanes == kInt8Panel);

struct Int8Dots : Int8Results {
  [[gnu::always_inline]] static inline __m512i add(__m512i sums, __m512i left, __m512i right) {
    return _mm512_dpbusd_epi32(sums, left, right);
  }
};

/// N outputs from number `i` on.
template <int N>
void chosen_from(const ChosenInt8& p, std::int64_t i) {
  __m512i sums[N];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) sums[n] = _mm512_setzero_si512();
  for (std::int64_t k = 0; k < p.stride; k += 64) {
    const __m512i left = _mm512_loadu_si512(p.x + k);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      const std::int8_t* row = p.weight + p.ids[i + n] * p.stride;
      sums[n] = _mm512_dpbusd_epi32(sums[n], left, _mm512_loadu_si512(row + k));
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    std::int32_t lanes[kLanes], all = 0;
    _mm512_storeu_si512(lanes, sums[n]);
    for (const std::int32_t lane : lanes) all += lane;
    const std::int32_t id = p.ids[i + n];
    const std::int32_t exact = all - p.weight_sums[id] * kInt8Zero;
    const float value = static_cast<float>(exact) * (p.weight_scale[id] * p.x_scale);
    p.y[i + n] = p.bias != nullptr ? value + p.bias[id] : value;
  }
}

}  // namespace

void multiply_chosen(const ChosenInt8& given) {
  const ChosenInt8 p = given;
  std::int64_t i = 0;
  for (; i + 4 <= p.count; i += 4) chosen_from<4>(p, i);
  for (; i < p.count; ++i) chosen_from<1>(p, i);
}

void multiply_int8(const Int8Product& product) { dot_product<Int8Dots>(product); }

void quantize_row(const Int8Row& given) {
  const Int8Row r = given;
  using Vectors = VectorOf<kLanes>;
  using Vector = Vectors::Type;
  typedef std::uint8_t Bytes __attribute__((vector_size(kLanes)));
  const std::int64_t whole = r.inputs / kLanes * kLanes, rest = r.inputs - whole;
  float last[kLanes] = {};
  std::memcpy(last, r.row + whole, static_cast<std::size_t>(rest) * sizeof(float));
  Vector most{}, check{};
  const auto look_at = [&](Vector value) __attribute__((always_inline)) {
    const auto bits = reinterpret_cast<Vectors::Integers>(value);
    const auto size = reinterpret_cast<Vector>(bits & 0x7FFFFFFF);
    most = size > most ? size : most;
    check += value * 0.0F;  // not a number where the value is infinite or none
  };
  for (std::int64_t k = 0; k < whole; k += kLanes) look_at(Vectors::load(r.row + k));
  look_at(Vectors::load(last));
  float largest[kLanes], checks[kLanes];
  Vectors::store(largest, most);
  Vectors::store(checks, check);
  const float top = join_lanes(largest, [](float a, float b) { return larger(a, b); });
  const bool finite = sum_lanes(checks) == 0.0F;
  *r.scale = finite ? top / 127.0F : std::numeric_limits<float>::quiet_NaN();
  std::memset(r.x + whole, kInt8Zero, static_cast<std::size_t>(int8_stride(r.inputs) - whole));
  if (!finite) {
    std::memset(r.x, kInt8Zero, static_cast<std::size_t>(whole));
    return;
  }
  const float factor = top > 0 ? 127.0F / top : 0.0F;
  constexpr float kUp = static_cast<float>(kInt8Zero) + 0.5F;  // positive: cutting off rounds
  const auto rounded = [&](Vector value) __attribute__((always_inline)) {
    const auto steps = __builtin_convertvector(value * factor + kUp, Vectors::Integers);
    return __builtin_convertvector(steps, Bytes);
  };
  for (std::int64_t k = 0; k < whole; k += kLanes) {
    const Bytes bytes = rounded(Vectors::load(r.row + k));
    std::memcpy(r.x + k, &bytes, sizeof bytes);
  }
  const Bytes bytes = rounded(Vectors::load(last));
  std::memcpy(r.x + whole, &bytes, static_cast<std::size_t>(rest));
}

}  // namespace th::model::TH_ISA
