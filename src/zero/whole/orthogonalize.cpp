#include "zero/whole/orthogonalize.hpp"

#include "th/base/error.hpp"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>

namespace th::zero {

namespace {

/// sqrt of the sum of squares in fp64, eight lanes.
double norm_of(const float* x, std::int64_t count) {
  double lanes[8] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(x[i]);
    lanes[i % 8] += value * value;
  }
  return std::sqrt(((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
                   ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7])));
}

/// y = a x + b y.
void combine(float a, const float* x, float b, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = a * x[i] + b * y[i];
}

}  // namespace

void orthogonalize(const model::Gemm& gemm, float* x, std::int64_t rows, std::int64_t columns,
                   const OrthogonalizeScratch& scratch) {
  constexpr int kIterations = 5;
  constexpr float kA = 3.4445F, kB = -4.7750F, kC = 2.0315F;
  ensure(rows >= columns, "orthogonalize: the matrix is wider than it is high");
  const auto tensor = [](float* data, std::int64_t m, std::int64_t n) {
    return at::from_blob(data, {m, n}, at::TensorOptions().dtype(at::kFloat));
  };
  const std::int64_t count = rows * columns, small = columns * columns;
  const at::Tensor x_RC = tensor(x, rows, columns),
                   product = tensor(scratch.product, rows, columns),
                   square = tensor(scratch.square, columns, columns);
  at::Tensor gram = tensor(scratch.gram, columns, columns);
  if (gemm.computes()) {
    const auto scale = static_cast<float>(1.0 / std::max(norm_of(x, count), 1e-7));
    for (std::int64_t i = 0; i < count; ++i) x[i] *= scale;
  }
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    gemm.weight_gradient(x_RC, x_RC, gram, model::Write::kSet);
    gemm.input_gradient(gram, gram, square);
    if (gemm.computes()) combine(kB, scratch.gram, kC, scratch.square, small);
    gemm.input_gradient(x_RC, square, product);
    if (gemm.computes()) combine(1.0F, scratch.product, kA, x, count);
  }
}

}  // namespace th::zero
