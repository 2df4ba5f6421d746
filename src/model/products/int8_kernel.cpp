#include "model/products/int8_kernel.hpp"

#include <cmath>
#include <limits>

// The compiler makes the processor's dot products of four bytes of the sums below: an unsigned byte
// times a signed one, added to 32 bits.
namespace th::model::TH_ISA {

namespace {

constexpr int kRows = 4, kColumns = 4;

/// R rows by C columns.
template <int R, int C>
void tile(const Int8Product& p, std::int64_t row, std::int64_t column) {
  const std::uint8_t* __restrict x = p.x + row * p.stride;
  const std::int8_t* __restrict w = p.weight + column * p.stride;
  const std::int64_t stride = p.stride;
  std::int32_t sums[R][C] = {};
  for (std::int64_t k = 0; k < stride; ++k) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c)
        sums[r][c] += static_cast<std::int32_t>(x[r * stride + k]) *
                      static_cast<std::int32_t>(w[c * stride + k]);
    }
  }
  for (int r = 0; r < R; ++r) {
    float* y = p.y + (row + r) * p.y_stride + column;
    for (int c = 0; c < C; ++c) {
      const std::int32_t sum = sums[r][c] - kInt8Zero * p.weight_sums[column + c];
      const float value =
          static_cast<float>(sum) * (p.x_scale[row + r] * p.weight_scale[column + c]);
      y[c] = p.bias != nullptr ? value + p.bias[column + c] : value;
    }
  }
}

template <int C>
void columns_of(const Int8Product& p, std::int64_t row, std::int64_t end, std::int64_t column) {
  for (; row + kRows <= end; row += kRows) tile<kRows, C>(p, row, column);
  for (; row < end; ++row) tile<1, C>(p, row, column);
}

}  // namespace

void multiply_int8(const Int8Product& p) {
  // Rows of x that stay in the second cache while all columns of the weight pass.
  constexpr std::int64_t kBytes = 1 << 18;
  const std::int64_t block = (kBytes / p.stride / kRows + 1) * kRows;
  for (std::int64_t row = 0; row < p.rows; row += block) {
    const std::int64_t end = row + block < p.rows ? row + block : p.rows;
    std::int64_t column = p.first;
    for (; column + kColumns <= p.last; column += kColumns)
      columns_of<kColumns>(p, row, end, column);
    for (; column < p.last; ++column) columns_of<1>(p, row, end, column);
  }
}

void quantize_row(const Int8Row& given) {
  const Int8Row r = given;
  float most = 0, check = 0;
  for (std::int64_t k = 0; k < r.inputs; ++k) {
    const float size = std::fabs(r.row[k]);
    most = size > most ? size : most;
    check += r.row[k] * 0.0F;  // not 0 where the element is infinite or not a number
  }
  const bool finite = check == 0.0F;
  *r.scale = finite ? most / 127.0F : std::numeric_limits<float>::quiet_NaN();
  const float factor = finite && most > 0 ? 127.0F / most : 0.0F;
  constexpr float kUp = static_cast<float>(kInt8Zero) + 0.5F;  // what is above 0 is cut, so rounded
  for (std::int64_t k = 0; k < r.inputs; ++k) {
    const float scaled = finite ? r.row[k] * factor : 0.0F;
    r.x[k] = static_cast<std::uint8_t>(static_cast<std::int32_t>(scaled + kUp));
  }
  for (std::int64_t k = r.inputs; k < int8_stride(r.inputs); ++k) r.x[k] = kInt8Zero;
}

}  // namespace th::model::TH_ISA
