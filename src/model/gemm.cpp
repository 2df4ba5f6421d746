#include "th/model/gemm.hpp"

#include "th/base/build_info.hpp"
#include "th/model/element.hpp"
#include "th/model/kernels.hpp"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

namespace th::model {

namespace {

using PointwiseSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                                      c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);

/// x W^T by oneDNN, fp32 or bf16; W may be a transposed view.
at::Tensor onednn_linear(const at::Tensor& x, const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<PointwiseSignature>();
  return op.call(x, weight, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), std::optional<c10::string_view>(""));
}

}  // namespace

GemmLibrary resolve_gemm(config::Gemm requested) {
  if (requested == config::Gemm::kOnednn) return GemmLibrary::kOnednn;
  if (requested == config::Gemm::kMkl) return GemmLibrary::kMkl;
  return processor_vendor() == "AuthenticAMD" && instruction_set() == "avx512" ? GemmLibrary::kOnednn : GemmLibrary::kMkl;
}

const char* gemm_name(GemmLibrary library) { return library == GemmLibrary::kOnednn ? "onednn" : "mkl"; }

Gemm::Gemm(GemmLibrary library, Arithmetic arithmetic)
    : library_(library), arithmetic_(arithmetic), native_bf16_(has_bf16_instructions()) {}

at::Tensor Gemm::widened(const at::Tensor& x) const {
  const bool transposed = !x.is_contiguous();
  const at::Tensor rows = transposed ? x.transpose(-1, -2) : x;
  at::Tensor out = at::empty(rows.sizes(), rows.options().dtype(at::kFloat));
  if (computes()) {
    with_element(rows, [&](auto element) { widen(elements<decltype(element)>(rows), out.data_ptr<float>(), out.numel()); });
  }
  return transposed ? out.transpose(-1, -2) : out;
}

at::Tensor Gemm::rounded(const at::Tensor& x, at::ScalarType type) const {
  at::Tensor out = at::empty(x.sizes(), x.options().dtype(type));
  if (computes()) {
    with_element(out, [&](auto element) { narrow(x.data_ptr<float>(), elements<decltype(element)>(out), out.numel()); });
  }
  return out;
}

at::Tensor Gemm::direct_linear(const at::Tensor& x, const at::Tensor& weight) const {
  const bool onednn = library_ == GemmLibrary::kOnednn || x.scalar_type() != at::kFloat;
  if (computes()) return onednn ? onednn_linear(x, weight) : at::mm(x, weight.t());
  at::Tensor copy, sums;
  if (onednn && !x.is_contiguous()) copy = at::empty(x.sizes(), x.options());  // oneDNN's entry wants rows
  // Of a transposed 16-bit weight oneDNN keeps the sums in fp32 beside the result (measured: the ledger shows it).
  if (x.scalar_type() != at::kFloat && !weight.is_contiguous()) sums = at::empty({x.size(0), weight.size(0)}, x.options().dtype(at::kFloat));
  return at::empty({x.size(0), weight.size(0)}, x.options());
}

at::Tensor Gemm::linear(const at::Tensor& x, const at::Tensor& weight) const {
  if (direct(x.scalar_type())) return direct_linear(x, weight);
  const at::Tensor wide_weight = widened(weight);
  return rounded(direct_linear(widened(x), wide_weight), x.scalar_type());
}

at::Tensor Gemm::forward(const at::Tensor& x_MK, const at::Tensor& weight_NK) const { return linear(x_MK, weight_NK); }

at::Tensor Gemm::input_gradient(const at::Tensor& g_MN, const at::Tensor& weight_NK) const { return linear(g_MN, weight_NK.t()); }

void Gemm::add_weight_gradient(const at::Tensor& g_MN, const at::Tensor& x_MK, at::Tensor& g_weight_NK) const {
  at::Tensor product;
  if (direct(x_MK.scalar_type())) {
    product = direct_linear(g_MN.t(), x_MK.t());
  } else {
    const at::Tensor wide_x = widened(x_MK);
    product = direct_linear(widened(g_MN).t(), wide_x.t());
  }
  if (!computes()) return;
  product = product.contiguous();
  with_element(product,
               [&](auto element) { accumulate(g_weight_NK.data_ptr<float>(), elements<decltype(element)>(product), product.numel()); });
}

at::Tensor Gemm::batched(const at::Tensor& a_BMK, const at::Tensor& b_BKN) const {
  if (direct(a_BMK.scalar_type())) {
    if (computes()) return at::bmm(a_BMK, b_BKN);
    return at::empty({a_BMK.size(0), a_BMK.size(1), b_BKN.size(2)}, a_BMK.options());
  }
  const at::Tensor wide_b = widened(b_BKN);
  const at::Tensor wide_a = widened(a_BMK);
  const at::Tensor product =
      computes() ? at::bmm(wide_a, wide_b) : at::empty({a_BMK.size(0), a_BMK.size(1), b_BKN.size(2)}, wide_a.options());
  return rounded(product, a_BMK.scalar_type());
}

}  // namespace th::model
