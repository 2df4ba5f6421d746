#pragma once

#include <memory>
#include <span>
#include <string>

#include "th/model/ops/kernel_set.hpp"
#include "th/model/products/gemm.hpp"

namespace th::model {

/// One library's matrix products, fp32 sums. Called by one thread.
class Products {
 public:
  virtual ~Products() = default;
  Products() = default;
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;
  /// c = a b + bias, or c += a b, of two-dimensional or, without bias, of batches of matrices: a
  /// [M,K] or [B,M,K], b [K,N] or [B,K,N], rows or columns of both may be transposed views; c [M,N]
  /// or [B,M,N] contiguous; bias [N] or undefined. With kShapesOnly nothing is computed, and what
  /// the product would allocate is allocated.
  virtual void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                        const at::Tensor& c, Write write, Arithmetic arithmetic) = 0;
  /// Gemm::forward_chosen to y, where these products have a way of their own; false where they
  /// don't, and nothing was done.
  [[nodiscard]] virtual bool multiply_chosen(const at::Tensor& /*x*/, const at::Tensor& /*weight*/,
                                             const at::Tensor& /*bias*/,
                                             std::span<const ChosenRows> /*groups*/, float* /*y*/) {
    return false;
  }
  /// Whether the bias is part of the product, or added in a pass of its own.
  [[nodiscard]] virtual bool adds_bias() const { return true; }
  /// The library as the run's identity names it.
  [[nodiscard]] virtual std::string name() const = 0;
};

/// oneDNN called directly: strides are taken as they are, results are added in place, and the bias
/// is part of the product. fp32 and bf16. Null where no library is found (OnednnLibrary::open).
[[nodiscard]] std::shared_ptr<Products> onednn_products();
/// LibTorch's copy of oneDNN, behind its operator for linear layers: for machines without a library
/// of its own. fp32 and bf16.
[[nodiscard]] std::shared_ptr<Products> torch_onednn_products();
/// LibTorch's MKL. fp32.
[[nodiscard]] std::shared_ptr<Products> mkl_products();
/// Products of `library` in which a row of the result depends on its own row of `a` alone, for
/// inference: linear layers in fp32 by row_kernel.hpp where the processor has it, else by blocks of
/// rows, always of as many. Results are set, not added to. Batches of matrices are the library's.
[[nodiscard]] std::shared_ptr<Products> rowwise_products(std::shared_ptr<Products> library,
                                                         WeightLife weights);
/// Linear layers of fp32 tensors in int8 (int8_kernel.hpp), for inference with weights that stay
/// what and where they are: each is quantised once. What is no linear layer is multiplied by
/// `others`.
[[nodiscard]] std::shared_ptr<Products> int8_products(std::shared_ptr<Products> others);
/// The plugin's, for tensors on a GPU: fp32, bf16 and fp16, and fp32 results of 16-bit operands.
/// `workspace`: runtime::kProductWorkspace bytes there. Both null: products of a plan, which are
/// not computed.
[[nodiscard]] std::shared_ptr<Products> device_products(const KernelSet* kernels,
                                                        at::Tensor workspace);

}  // namespace th::model
