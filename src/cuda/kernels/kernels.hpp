#pragma once

#include <cstdint>

#include "th/base/half_float.hpp"
#include "th/runtime/ops/operands.hpp"
#include "th/runtime/plugin/cuda_plugin_abi.hpp"

namespace th::cuda {

// Kernels as host functions without CUDA types; the contracts stand at runtime::CudaKernels.
// `stream` is a cudaStream_t.
void update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands,
            void* stream);
/// runtime::Device::end_step; the norm's blocks are added in kNormStrands strands
/// (elementwise.hpp).
void end_step(const runtime::StepRecords& records, void* stream);
void tree_sum(const runtime::TreeSum& sum, void* stream);
void block_square_sums(const void* x, ElementType type, std::int64_t blocks, double* out,
                       void* stream);
/// y += x.
void accumulate(float* y, const float* x, std::int64_t count, void* stream);
/// `count` elements rounded to a 16-bit type.
void round(const float* from, ElementType type, void* to, std::int64_t count, void* stream);

/// The model's ops, a table for each element type.
[[nodiscard]] const runtime::OpTable<float>& model_kernels_fp32();
[[nodiscard]] const runtime::OpTable<Bf16>& model_kernels_bf16();
[[nodiscard]] const runtime::OpTable<Fp16>& model_kernels_fp16();
/// Throws DeviceError when this build holds no kernels that the current device can run.
void check_kernel_image();

/// Who multiplies matrices (matrix_products.hpp); nobody for a stand-in.
struct ProductFunctions {
  runtime::MultiplyFn* multiply = nullptr;
  const char* (*library)() = nullptr;
};
[[nodiscard]] ProductFunctions product_functions();

/// th_cuda_tensors_fn's answer for this build.
[[nodiscard]] int tensor_memory();

/// All of them, for the plugin's caller.
[[nodiscard]] const runtime::CudaKernels& kernel_table();

}  // namespace th::cuda
