#include "th/model/gemm.hpp"

#include "th/base/build_info.hpp"
#include "th/model/kernels.hpp"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace th::model {

namespace {

using PointwiseSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                                      c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);

/// x W^T by oneDNN; W may be a transposed view.
at::Tensor onednn_linear(const at::Tensor& x, const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<PointwiseSignature>();
  return op.call(x, weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), std::optional<c10::string_view>(""));
}

/// What a product takes while it runs and leaves behind, without computing it.
at::Tensor planned_product(GemmLibrary library, const at::Tensor& left, const at::Tensor& right, std::int64_t columns) {
  at::Tensor copy;
  if (library == GemmLibrary::kOnednn && !left.is_contiguous()) copy = at::empty(left.sizes(), left.options());  // oneDNN's entry wants rows
  (void)right;
  return at::empty({left.size(0), columns}, left.options());
}

}  // namespace

GemmLibrary resolve_gemm(config::Gemm requested) {
  if (requested == config::Gemm::kOnednn) return GemmLibrary::kOnednn;
  if (requested == config::Gemm::kMkl) return GemmLibrary::kMkl;
  return processor_vendor() == "AuthenticAMD" && instruction_set() == "avx512" ? GemmLibrary::kOnednn : GemmLibrary::kMkl;
}

const char* gemm_name(GemmLibrary library) { return library == GemmLibrary::kOnednn ? "onednn" : "mkl"; }

at::Tensor Gemm::forward(const at::Tensor& x_MK, const at::Tensor& weight_NK) const {
  if (!computes()) return planned_product(library_, x_MK, weight_NK, weight_NK.size(0));
  return library_ == GemmLibrary::kOnednn ? onednn_linear(x_MK, weight_NK) : at::mm(x_MK, weight_NK.t());
}

at::Tensor Gemm::input_gradient(const at::Tensor& g_MN, const at::Tensor& weight_NK) const {
  if (!computes()) return planned_product(library_, g_MN, weight_NK, weight_NK.size(1));
  return library_ == GemmLibrary::kOnednn ? onednn_linear(g_MN, weight_NK.t()) : at::mm(g_MN, weight_NK);
}

void Gemm::add_weight_gradient(const at::Tensor& g_MN, const at::Tensor& x_MK, at::Tensor& g_weight_NK) const {
  if (!computes()) {
    (void)planned_product(library_, g_MN.t(), x_MK, x_MK.size(1));
    return;
  }
  const at::Tensor product = library_ == GemmLibrary::kOnednn ? onednn_linear(g_MN.t(), x_MK.t()) : at::mm(g_MN.t(), x_MK);
  add_to(g_weight_NK.data_ptr<float>(), product.contiguous().data_ptr<float>(), product.numel());
}

at::Tensor Gemm::batched(const at::Tensor& a_BMK, const at::Tensor& b_BKN) const {
  if (!computes()) return at::empty({a_BMK.size(0), a_BMK.size(1), b_BKN.size(2)}, a_BMK.options());
  return at::bmm(a_BMK, b_BKN);
}

}  // namespace th::model
