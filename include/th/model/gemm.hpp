#pragma once

#include <ATen/core/Tensor.h>

#include "th/config/run_config.hpp"

namespace th::model {

/// Which library multiplies fp32 matrices on the CPU. Part of a run's identity: the two round differently.
enum class GemmLibrary { kOnednn, kMkl };

/// Resolves run.gemm. `auto` goes by the processor alone: oneDNN on AMD processors with AVX-512, where LibTorch's MKL runs a slower
/// path, and MKL elsewhere. Never by a timing, which would let noise decide the bits.
[[nodiscard]] GemmLibrary resolve_gemm(config::Gemm requested);
[[nodiscard]] const char* gemm_name(GemmLibrary library);

/// The three products of a linear layer y = x W^T, fp32, contiguous. M rows, K inputs, N outputs; x [M,K], W [N,K], y [M,N].
class Gemm {
 public:
  explicit Gemm(GemmLibrary library) : library_(library) {}
  /// x W^T -> [M,N].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_MK, const at::Tensor& weight_NK) const;
  /// g W -> [M,K].
  [[nodiscard]] at::Tensor input_gradient(const at::Tensor& g_MN, const at::Tensor& weight_NK) const;
  /// g_weight += g^T x.
  void add_weight_gradient(const at::Tensor& g_MN, const at::Tensor& x_MK, at::Tensor& g_weight_NK) const;
  [[nodiscard]] GemmLibrary library() const noexcept { return library_; }

 private:
  GemmLibrary library_;
};

}  // namespace th::model
