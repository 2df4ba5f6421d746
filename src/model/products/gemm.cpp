#include "th/model/products/gemm.hpp"

#include "model/products/chosen_products.hpp"
#include "model/products/products.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/ops/host_ops.hpp"

#include <utility>
#include <vector>

namespace th::model {

GemmLibrary resolve_gemm(config::Gemm requested) {
  if (requested == config::Gemm::kOnednn) return GemmLibrary::kOnednn;
  if (requested == config::Gemm::kMkl) return GemmLibrary::kMkl;
  return processor_vendor() == "AuthenticAMD" && instruction_set() == "avx512"
             ? GemmLibrary::kOnednn
             : GemmLibrary::kMkl;
}

GemmLibrary resolve_gemm(config::Gemm requested, at::Device device) {
  return device.is_cuda() ? GemmLibrary::kCublas : resolve_gemm(requested);
}

const char* gemm_name(GemmLibrary library) {
  if (library == GemmLibrary::kCublas) return "cublas";
  return library == GemmLibrary::kOnednn ? "onednn" : "mkl";
}

Gemm::Gemm(GemmLibrary library, Arithmetic arithmetic)
    : library_(library), arithmetic_(arithmetic), native_bf16_(has_bf16_instructions()) {
  if (library == GemmLibrary::kCublas) {
    fp32_ = bf16_ = device_products(nullptr, {});
    return;
  }
  bf16_ = onednn_products();
  if (!bf16_) bf16_ = torch_onednn_products();
  fp32_ = library == GemmLibrary::kOnednn ? bf16_ : mkl_products();
}

Gemm::Gemm(const KernelSet& kernels, at::Tensor workspace)
    : library_(GemmLibrary::kCublas),
      arithmetic_(Arithmetic::kCompute),
      native_bf16_(true),
      fp32_(device_products(&kernels, std::move(workspace))),
      bf16_(fp32_) {}

Gemm Gemm::rowwise(WeightLife weights) const {
  Gemm out = *this;
  if (library_ == GemmLibrary::kCublas) return out;
  out.fp32_ = rowwise_products(fp32_, WeightLife::kChange);
  out.bf16_ = bf16_ == fp32_ && weights == WeightLife::kChange ? out.fp32_
                                                               : rowwise_products(bf16_, weights);
  if (weights == WeightLife::kStay) out.resident_ = rowwise_products(fp32_, weights);
  return out;
}

Gemm Gemm::quantized() const {
  ensure(library_ != GemmLibrary::kCublas && has_int8_products(),
         "Gemm: products in int8 are not of this device");
  Gemm out = rowwise();
  out.resident_ = int8_products(out.fp32_);
  return out;
}

std::string Gemm::identity(ElementType precision) const {
  const bool other =
      precision == ElementType::kBf16 && native_bf16_ && library_ != GemmLibrary::kCublas;
  std::string text = fp32_->name();
  if (other) text += has_amx_instructions() ? "+bf16-amx" : "+bf16";
  if (other && bf16_ != fp32_) text.append("-").append(bf16_->name());
  return text;
}

at::Tensor Gemm::widened(const at::Tensor& x) const {
  if (!x.defined() || x.scalar_type() == at::kFloat) return x;
  const bool transposed = !x.is_contiguous();
  const at::Tensor rows = transposed ? x.transpose(-1, -2) : x;
  at::Tensor out = model::empty(rows.sizes(), rows.options().dtype(at::kFloat));
  if (computes()) {
    with_element(rows, [&](auto element) {
      using T = decltype(element);
      compute(
          op::Widen<T>{.x = elements<T>(rows), .y = out.data_ptr<float>(), .count = out.numel()});
    });
  }
  return transposed ? out.transpose(-1, -2) : out;
}

void Gemm::multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                    const at::Tensor& c, Write write) const {
  const at::ScalarType type = a.scalar_type();
  if (direct(type)) {
    const std::shared_ptr<Products>& fp32 = resident_ ? resident_ : fp32_;
    return (type == at::kFloat ? fp32 : bf16_)->multiply(a, b, bias, c, write, arithmetic_);
  }
  const at::Tensor wide_a = widened(a), wide_b = widened(b);
  if (c.scalar_type() == at::kFloat)
    return fp32_->multiply(wide_a, wide_b, widened(bias), c, write, arithmetic_);
  const at::Tensor wide_c = model::empty(c.sizes(), c.options().dtype(at::kFloat));
  fp32_->multiply(wide_a, wide_b, widened(bias), wide_c, write, arithmetic_);
  if (!computes()) return;
  with_element(c, [&](auto element) {
    using T = decltype(element);
    compute(op::Narrow<T>{.x = wide_c.data_ptr<float>(), .y = elements<T>(c), .count = c.numel()});
  });
}

at::Tensor Gemm::product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) const {
  std::vector<std::int64_t> sizes = a.sizes().vec();
  sizes.back() = b.size(-1);
  at::Tensor c = model::empty(sizes, a.options());
  multiply(a, b, bias, c, Write::kSet);
  return c;
}

at::Tensor Gemm::forward(const at::Tensor& x_MK, const at::Tensor& weight_NK,
                         const at::Tensor& bias_N) const {
  return product(x_MK, weight_NK.t(), bias_N);
}

at::Tensor Gemm::forward_chosen(const at::Tensor& x_MK, const at::Tensor& weight_NK,
                                const at::Tensor& bias_N,
                                std::span<const ChosenRows> groups) const {
  ensure(library_ != GemmLibrary::kCublas, "Gemm: chosen outputs are the host's");
  at::Tensor y = model::empty({chosen_count(groups)}, at::TensorOptions().dtype(at::kFloat));
  if (!computes()) return y;
  float* out = y.data_ptr<float>();
  const bool quantized = resident_ != nullptr && x_MK.scalar_type() == at::kFloat;
  if (!quantized || !resident_->multiply_chosen(x_MK, weight_NK, bias_N, groups, out))
    multiply_chosen(x_MK, weight_NK, bias_N, groups, out);
  return y;
}

bool Gemm::adds_bias(at::ScalarType type) const { return type != at::kFloat || fp32_->adds_bias(); }

at::Tensor Gemm::input_gradient(const at::Tensor& g_MN, const at::Tensor& weight_NK) const {
  return product(g_MN, weight_NK, {});
}

void Gemm::weight_gradient(const at::Tensor& g_MN, const at::Tensor& x_MK, at::Tensor& g_weight_NK,
                           Write write) const {
  multiply(g_MN.t(), x_MK, {}, g_weight_NK, write);
}

void Gemm::batched(const at::Tensor& a_BMK, const at::Tensor& b_BKN,
                   const at::Tensor& c_BMN) const {
  multiply(a_BMK, b_BKN, {}, c_BMN, Write::kSet);
}

}  // namespace th::model
