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

/// Whether products and kernels are computed, or only their results allocated: the memory plan runs the model's own code without data.
enum class Arithmetic { kCompute, kShapesOnly };

/// The matrix products of the model, fp32, contiguous. Linear layers y = x W^T: M rows, K inputs, N outputs; x [M,K], W [N,K], y [M,N].
class Gemm {
 public:
  explicit Gemm(GemmLibrary library, Arithmetic arithmetic = Arithmetic::kCompute) : library_(library), arithmetic_(arithmetic) {}
  /// x W^T -> [M,N].
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_MK, const at::Tensor& weight_NK) const;
  /// g W -> [M,K].
  [[nodiscard]] at::Tensor input_gradient(const at::Tensor& g_MN, const at::Tensor& weight_NK) const;
  /// g_weight += g^T x.
  void add_weight_gradient(const at::Tensor& g_MN, const at::Tensor& x_MK, at::Tensor& g_weight_NK) const;
  /// a b of each of the B matrices: [B,M,K] times [B,K,N] -> [B,M,N]; a and b may be transposed views.
  [[nodiscard]] at::Tensor batched(const at::Tensor& a_BMK, const at::Tensor& b_BKN) const;
  [[nodiscard]] GemmLibrary library() const noexcept { return library_; }
  [[nodiscard]] bool computes() const noexcept { return arithmetic_ == Arithmetic::kCompute; }

 private:
  GemmLibrary library_;
  Arithmetic arithmetic_;
};

}  // namespace th::model
