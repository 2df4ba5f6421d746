#pragma once

#include <cstdint>

#include "th/runtime/device/device.hpp"

namespace th::runtime {

/// One matrix of a batch of matrices with equal shapes. It is stored by rows, or by columns if it
/// is transposed: element (r, c) is data[r * stride + c], transposed data[c * stride + r]. The next
/// matrix of the batch begins `next` elements later.
struct MatrixOperand {
  const void* data = nullptr;
  std::int64_t stride = 0, next = 0;
  bool transposed = false;
};

/// c = a b + bias, or c += a b, for each of `batch` matrices in memory of a GPU: a [m, k], b [k,
/// n], c [m, n] in rows of n, bias [n] or null. a, b and bias are of `type`, c of `result`: the
/// same, or fp32 of 16-bit operands. Sums are fp32 (no TF32).
struct MatrixProduct {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  ElementType type = ElementType::kFp32, result = ElementType::kFp32;
  MatrixOperand a, b;
  const void* bias = nullptr;
  void* c = nullptr;
  bool add = false;
};

/// The bytes of device memory in which products work; products of one stream share it.
inline constexpr std::int64_t kProductWorkspace = std::int64_t{32} << 20;  // bytes

/// Enqueues a product on `stream` (a cudaStream_t). On GPUs of one kind the same shapes, types and
/// library give the same bits. `workspace`: kProductWorkspace bytes. Throws DeviceError.
using MultiplyFn = void(const MatrixProduct& product, void* workspace, void* stream);

}  // namespace th::runtime
