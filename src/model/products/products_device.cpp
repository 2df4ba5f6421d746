#include "model/products/products.hpp"
#include "th/base/error.hpp"

#include <algorithm>
#include <utility>

namespace th::model {

namespace {

ElementType element_type(const at::Tensor& t) {
  if (t.scalar_type() == at::kBFloat16) return ElementType::kBf16;
  return t.scalar_type() == at::kHalf ? ElementType::kFp16 : ElementType::kFp32;
}

runtime::MatrixOperand operand(const at::Tensor& t) {
  const std::int64_t rows = t.size(-2), columns = t.size(-1), next = t.dim() == 3 ? t.stride(0) : 0;
  if (t.stride(-1) == 1 || columns == 1)
    return {t.const_data_ptr(), std::max(t.stride(-2), columns), next, false};
  ensure(t.stride(-2) == 1 || rows == 1, "a matrix has neither rows nor columns of neighbours");
  return {t.const_data_ptr(), std::max(t.stride(-1), rows), next, true};
}

class DeviceProducts final : public Products {
 public:
  DeviceProducts(const KernelSet* kernels, at::Tensor workspace)
      : kernels_(kernels), workspace_(std::move(workspace)) {}
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    if (arithmetic == Arithmetic::kShapesOnly) return;
    ensure(kernels_ != nullptr && kernels_->multiply != nullptr,
           "DeviceProducts: a planned product is not computed");
    kernels_->multiply({.m = a.size(-2),
                        .n = b.size(-1),
                        .k = a.size(-1),
                        .batch = a.dim() == 3 ? a.size(0) : 1,
                        .type = element_type(a),
                        .result = element_type(c),
                        .a = operand(a),
                        .b = operand(b),
                        .bias = bias.defined() ? bias.const_data_ptr() : nullptr,
                        .c = c.data_ptr(),
                        .add = write == Write::kAdd},
                       workspace_.data_ptr(), kernels_->stream);
  }
  [[nodiscard]] std::string name() const override { return "cublas"; }

 private:
  const KernelSet* kernels_;
  at::Tensor workspace_;
};

}  // namespace

std::shared_ptr<Products> device_products(const KernelSet* kernels, at::Tensor workspace) {
  return std::make_shared<DeviceProducts>(kernels, std::move(workspace));
}

}  // namespace th::model
