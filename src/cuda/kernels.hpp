#pragma once

#include <cstdint>

#include "th/base/half_float.hpp"
#include "th/runtime/cuda_plugin_abi.hpp"
#include "th/runtime/model_kernels.hpp"

namespace th::cuda {

// Kernels as host functions without CUDA types; the contracts stand at runtime::CudaKernels. `stream` is a cudaStream_t.
void adam(const runtime::AdamFactors& factors, float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq, std::int64_t count,
          void* stream);
void sgd(float gradient_factor, float decay, float lr, float* parameters, const float* gradients, std::int64_t count, void* stream);
void tree_sum(const runtime::TreeSum& sum, void* stream);
void block_square_sums(const float* x, std::int64_t blocks, double* out, void* stream);

/// The model's kernels, a table for each element type.
[[nodiscard]] const runtime::ModelKernels<float>& model_kernels_fp32();
[[nodiscard]] const runtime::ModelKernels<Bf16>& model_kernels_bf16();
[[nodiscard]] const runtime::ModelKernels<Fp16>& model_kernels_fp16();
/// Throws DeviceError when this build holds no kernels that the current device can run.
void check_kernel_image();

/// All of them, for the plugin's caller.
[[nodiscard]] const runtime::CudaKernels& kernel_table();

}  // namespace th::cuda
