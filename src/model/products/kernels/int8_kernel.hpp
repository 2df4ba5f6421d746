#pragma once

#include <cstdint>

// Products of linear layers in int8: weights quantised once, by row (an output each), inputs by row
// as they come, both symmetric about 0. Sums are exact integers, so a row of the result depends on
// its own row of inputs alone.
namespace th::model {

/// Weights lie in panels of so many outputs, of which each step of so many inputs has neighbouring
/// bytes: the weight [N, K] as [N / 16, K / 4, 16, 4].
inline constexpr std::int64_t kInt8Panel = 16, kInt8Step = 4;
/// Bytes of a row of K inputs: whole vectors, whose bytes behind K stand for 0.
[[nodiscard]] constexpr std::int64_t int8_stride(std::int64_t inputs) {
  return (inputs + 63) / 64 * 64;
}
/// Outputs with those that fill up the last pair of panels.
[[nodiscard]] constexpr std::int64_t int8_outputs(std::int64_t outputs) {
  return (outputs + 2 * kInt8Panel - 1) / (2 * kInt8Panel) * (2 * kInt8Panel);
}
/// Where element (n, k) of a weight lies.
[[nodiscard]] constexpr std::int64_t int8_place(std::int64_t n, std::int64_t k,
                                                std::int64_t stride) {
  return n / kInt8Panel * kInt8Panel * stride + k / kInt8Step * kInt8Panel * kInt8Step +
         n % kInt8Panel * kInt8Step + k % kInt8Step;
}
/// The most inputs whose sums of products stay below 2^31.
inline constexpr std::int64_t kMostInt8Inputs = 1 << 16;
/// What stands for 0 in rows of inputs: they are unsigned, as the processor's instruction wants.
inline constexpr std::int32_t kInt8Zero = 128;

/// y[m, n] = x_scale[m] weight_scale[n] (sum over k of (x[m, k] - 128) weight[n, k]) + bias[n], for
/// all M rows and the columns [first, last).
struct Int8Product {
  const std::uint8_t* x = nullptr;            ///< [M, int8_stride(K)], 128 is 0
  const float* x_scale = nullptr;             ///< [M]
  const std::int8_t* weight = nullptr;        ///< int8_outputs(N) by int8_stride(K), int8_place()
  const float* weight_scale = nullptr;        ///< [int8_outputs(N)]
  const std::int32_t* weight_sums = nullptr;  ///< [int8_outputs(N)], the sum of each row
  const float* bias = nullptr;                ///< [N], or null
  float* y = nullptr;                         ///< [M, N], rows y_stride floats apart
  std::int64_t y_stride = 0;
  std::int64_t rows = 0, stride = 0;  ///< M, int8_stride(K)
  std::int64_t first = 0, last = 0;   ///< columns to compute; first is a multiple of 32
};

/// x[k] = round(row[k] / scale) + 128 and the scale, max |row| / 127; what is not finite in the row
/// makes the scale not finite, and so the row of the result.
struct Int8Row {
  const float* row = nullptr;  ///< [K]
  std::int64_t inputs = 0;
  std::uint8_t* x = nullptr;  ///< [int8_stride(K)]
  float* scale = nullptr;
};

/// Weights of which only some outputs are asked lie row by row, [N, int8_stride(K)].
/// y[i] = Int8Product's y[m, ids[i]] of one row of inputs.
struct ChosenInt8 {
  const std::uint8_t* x = nullptr;  ///< [stride], as quantize_row makes it
  float x_scale = 0;
  const std::int8_t* weight = nullptr;        ///< [N, stride]
  const float* weight_scale = nullptr;        ///< [N]
  const std::int32_t* weight_sums = nullptr;  ///< [N]
  const float* bias = nullptr;                ///< [N], or null
  std::int64_t stride = 0;                    ///< int8_stride(K)
  const std::int32_t* ids = nullptr;          ///< [count]
  std::int64_t count = 0;
  float* y = nullptr;  ///< [count]
};

/// The kernel that this processor runs: AMX, else VNNI, with the same bits. It is null if the
/// processor has no AVX-512 with VNNI.
using Int8Multiply = void (*)(const Int8Product& product);
[[nodiscard]] Int8Multiply int8_multiply();

// int8_kernel.cpp is compiled for this namespace alone (cmake/ThIsa.cmake): AVX-512 with VNNI.
namespace avx512_vnni {
void multiply_int8(const Int8Product& product);
void quantize_row(const Int8Row& row);
void multiply_chosen(const ChosenInt8& product);
}  // namespace avx512_vnni
// amx_kernel.cpp: the same sums, which are exact, by tiles.
namespace amx {
void multiply_int8(const Int8Product& product);
}

}  // namespace th::model
