#include "model/products/products.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/ops/host_ops.hpp"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/mm.h>

namespace th::model {

namespace {

using PointwiseSignature = at::Tensor(const at::Tensor&, const at::Tensor&,
                                      const std::optional<at::Tensor>&, c10::string_view,
                                      c10::List<std::optional<at::Scalar>>,
                                      std::optional<c10::string_view>);

class TorchOnednnProducts final : public Products {
 public:
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    if (arithmetic == Arithmetic::kShapesOnly) return plan(a, b, c);
    if (a.dim() == 3) {
      c.copy_(at::bmm(a, b));
      return;
    }
    static const auto linear = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                   .typed<PointwiseSignature>();
    const std::optional<at::Tensor> maybe_bias =
        bias.defined() ? std::optional(bias) : std::nullopt;
    const at::Tensor product =
        linear
            .call(a, b.t(), maybe_bias, "none", c10::List<std::optional<at::Scalar>>(),
                  std::optional<c10::string_view>(""))
            .contiguous();
    if (write == Write::kSet) {
      c.copy_(product);
      return;
    }
    with_element(product, [&](auto element) {
      using T = decltype(element);
      compute(op::Accumulate<T>{
          .y = c.data_ptr<float>(), .x = elements<T>(product), .count = product.numel()});
    });
  }
  [[nodiscard]] std::string name() const override { return "onednn-torch"; }

 private:
  /// The result and, of views, the rows that oneDNN's entry wants; of a transposed 16-bit weight
  /// the sums stay in fp32 beside it (seen in the ledger).
  static void plan(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
    at::Tensor rows, sums;
    if (!a.is_contiguous()) rows = model::empty(a.sizes(), a.options());
    if (a.scalar_type() != at::kFloat && b.is_contiguous())
      sums = model::empty(c.sizes(), a.options().dtype(at::kFloat));
    (void)model::empty(c.sizes(), a.options());
  }
};

class MklProducts final : public Products {
 public:
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    if (arithmetic == Arithmetic::kShapesOnly) return;
    at::Tensor out = c;
    if (a.dim() == 3) {
      at::bmm_out(out, a, b);
    } else if (write == Write::kAdd) {
      at::addmm_out(out, c, a, b);
    } else {
      at::mm_out(out, a, b);  // addmm would write the bias first and read it again
      if (bias.defined()) out.add_(bias);
    }
  }
  [[nodiscard]] bool adds_bias() const override { return false; }
  [[nodiscard]] std::string name() const override { return "mkl"; }
};

}  // namespace

std::shared_ptr<Products> torch_onednn_products() {
  return std::make_shared<TorchOnednnProducts>();
}
std::shared_ptr<Products> mkl_products() { return std::make_shared<MklProducts>(); }

}  // namespace th::model
