#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "th/config/run_config.hpp"
#include "th/model/ops/kernel_set.hpp"
#include "th/model/parameters/parameters.hpp"

namespace th::model {

/// The library that multiplies matrices: oneDNN or MKL for a CPU's tensors, cuBLAS for a GPU's. It
/// is part of a run's identity, because the libraries round differently.
enum class GemmLibrary { kOnednn, kMkl, kCublas };

/// Resolves run.gemm. `auto` looks only at the processor: oneDNN on AMD processors with AVX-512,
/// where LibTorch's MKL takes a slower path, and MKL elsewhere. It never measures, because then
/// noise would decide the bits.
[[nodiscard]] GemmLibrary resolve_gemm(config::Gemm requested);
/// The same for tensors on `device`: a GPU's are cuBLAS's, whatever is asked for the CPU.
[[nodiscard]] GemmLibrary resolve_gemm(config::Gemm requested, at::Device device);
[[nodiscard]] const char* gemm_name(GemmLibrary library);

/// Whether the processor has the instructions that products in int8 are compiled for: AVX-512 with
/// VNNI.
[[nodiscard]] bool has_int8_products();

/// Whether products and kernels are computed, or only their results allocated: the memory plan runs
/// the model's own code without data.
enum class Arithmetic { kCompute, kShapesOnly };

/// Whether weights neither change nor move, so that what was made of them may be stored.
enum class WeightLife { kChange, kStay };

class Products;

/// Rows of a linear layer's input, and the outputs that are computed for each.
struct ChosenRows {
  std::int64_t first = 0, count = 0;
  std::span<const std::int32_t> ids;  ///< ascending
};
/// The number of outputs of all rows.
[[nodiscard]] std::int64_t chosen_count(std::span<const ChosenRows> groups);

/// The matrix products of the model, contiguous, fp32, bf16 or fp16. Linear layers y = x W^T: M
/// rows, K inputs, N outputs; x [M,K], W [N,K], y [M,N]. Sums are fp32. bf16 goes through oneDNN
/// where the processor has bf16 instructions; elsewhere, and for fp16, operands are widened,
/// multiplied by the fp32 library and the result rounded; cuBLAS takes all three types. oneDNN is a
/// library of its own if there is one, otherwise LibTorch's copy. One thread uses a Gemm, but for
/// rowwise() and quantized() ones, which several may; copies share the compiled products.
class Gemm {
 public:
  explicit Gemm(GemmLibrary library, Arithmetic arithmetic = Arithmetic::kCompute);
  /// Products of the device whose kernels these are, kCublas; `workspace`:
  /// runtime::kProductWorkspace bytes of its memory.
  Gemm(const KernelSet& kernels, at::Tensor workspace);
  /// The same products on a CPU, but each row of forward() depends on its own row of x alone:
  /// whatever other rows there are, their order and the number of threads. With kStay the weights
  /// of fp32 are kept a second time, as the processor reads them fastest. Of a GPU's the same.
  [[nodiscard]] Gemm rowwise(WeightLife weights = WeightLife::kChange) const;
  /// rowwise() with the linear layers of fp32 tensors in int8: weights by output, inputs by row.
  /// Weights are quantised once and must stay what and where they are. has_int8_products() holds.
  [[nodiscard]] Gemm quantized() const;
  /// x W^T + bias -> [M,N]; bias [N], or undefined for none.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_MK, const at::Tensor& weight_NK,
                                   const at::Tensor& bias_N = {}) const;
  /// The elements of x W^T + bias that are asked of each row, row after row of the groups: fp32
  /// [chosen_count(groups)], of operands of any type. An element depends on its row of x and its
  /// row of W alone. In int8 where forward() is. On a CPU.
  [[nodiscard]] at::Tensor forward_chosen(const at::Tensor& x_MK, const at::Tensor& weight_NK,
                                          const at::Tensor& bias_N,
                                          std::span<const ChosenRows> groups) const;
  /// Whether adding the bias to a product of this type needs no pass over the result. If it needs
  /// one, the next reader of the result may add the bias instead.
  [[nodiscard]] bool adds_bias(at::ScalarType type) const;
  /// g W -> [M,K].
  [[nodiscard]] at::Tensor input_gradient(const at::Tensor& g_MN,
                                          const at::Tensor& weight_NK) const;
  /// The same into contiguous memory of the right size.
  void input_gradient(const at::Tensor& g_MN, const at::Tensor& weight_NK,
                      const at::Tensor& out_MK) const {
    multiply(g_MN, weight_NK, {}, out_MK, Write::kSet);
  }
  /// g_weight = g^T x, or g_weight += g^T x; g_weight is fp32 and contiguous.
  void weight_gradient(const at::Tensor& g_MN, const at::Tensor& x_MK, at::Tensor& g_weight_NK,
                       Write write) const;
  /// c = a b of each of the B matrices: [B,M,K] times [B,K,N] -> [B,M,N]; a and b may be transposed
  /// views, c is contiguous.
  void batched(const at::Tensor& a_BMK, const at::Tensor& b_BKN, const at::Tensor& c_BMN) const;
  [[nodiscard]] GemmLibrary library() const noexcept { return library_; }
  [[nodiscard]] bool computes() const noexcept { return arithmetic_ == Arithmetic::kCompute; }
  /// The libraries in the run's identity: "mkl", "onednn-3.2.0", "onednn-torch",
  /// "cublas"; "+bf16" where bf16 has products of its own, "+bf16-amx" where by AMX.
  [[nodiscard]] std::string identity(ElementType precision) const;

 private:
  /// a b + bias, in a's type.
  [[nodiscard]] at::Tensor product(const at::Tensor& a, const at::Tensor& b,
                                   const at::Tensor& bias) const;
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write) const;
  /// The tensor in fp32, with the same strides.
  [[nodiscard]] at::Tensor widened(const at::Tensor& x) const;
  /// Whether products of this type are made without going through fp32.
  [[nodiscard]] bool direct(at::ScalarType type) const {
    return library_ == GemmLibrary::kCublas || type == at::kFloat ||
           (type == at::kBFloat16 && native_bf16_);
  }

  GemmLibrary library_;
  Arithmetic arithmetic_;
  bool native_bf16_;
  std::shared_ptr<Products> fp32_, bf16_;
  std::shared_ptr<Products> resident_;  ///< of fp32 weights that stay; null: fp32_
};

}  // namespace th::model
