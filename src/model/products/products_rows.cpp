#include "model/ops/host_threads.hpp"
#include "model/products/products.hpp"
#include "model/products/row_kernel.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <utility>

namespace th::model {

namespace {

/// Rows of a product that a library computes together, always so many: its way of adding may depend
/// on the count.
constexpr std::int64_t kBlock = 32;
/// Columns that a thread computes together.
constexpr std::int64_t kColumns = 64;

/// Whether the tensors are those of a linear layer in fp32: rows of a, and rows of b transposed.
bool is_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
  return a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat &&
         c.scalar_type() == at::kFloat && (a.stride(1) == 1 || a.size(1) == 1) &&
         (b.stride(0) == 1 || b.size(0) == 1);
}

class RowwiseProducts final : public Products {
 public:
  explicit RowwiseProducts(std::shared_ptr<Products> library) : library_(std::move(library)) {}
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    // Batches are attention's, whose sizes are those of one sentence or group.
    if (a.dim() == 3) return library_->multiply(a, b, bias, c, write, arithmetic);
    ensure(write == Write::kSet, "RowwiseProducts: results are set, never added to");
    if (is_linear(a, b, c) && has_row_products()) {
      if (arithmetic == Arithmetic::kCompute) multiply_linear(a, b, bias, c);
      return;
    }
    for (std::int64_t row = 0; row < a.size(0); row += kBlock)
      multiply_block(a, b, bias, c, {row, std::min(kBlock, a.size(0) - row)}, arithmetic);
  }
  [[nodiscard]] std::string name() const override { return library_->name(); }

 private:
  struct Rows {
    std::int64_t first, count;
  };

  static void multiply_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                              const at::Tensor& c) {
    RowProduct product{.x = a.const_data_ptr<float>(),
                       .x_stride = a.stride(0),
                       .weight = b.const_data_ptr<float>(),
                       .weight_stride = b.stride(1),
                       .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                       .y = c.data_ptr<float>(),
                       .y_stride = c.stride(0),
                       .rows = a.size(0),
                       .inputs = a.size(1),
                       .last = c.size(1)};
    on_threads((product.last + kColumns - 1) / kColumns,
               [](void* context, std::int64_t begin, std::int64_t end, std::int64_t) {
                 RowProduct part = *static_cast<const RowProduct*>(context);
                 part.first = begin * kColumns;
                 part.last = std::min(end * kColumns, part.last);
                 multiply_rows(part);
               },
               &product);
  }
  void multiply_block(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                      const at::Tensor& c, Rows rows, Arithmetic arithmetic) {
    const at::Tensor from = a.narrow(0, rows.first, rows.count),
                     to = c.narrow(0, rows.first, rows.count);
    if (rows.count == kBlock) return library_->multiply(from, b, bias, to, Write::kSet, arithmetic);
    const at::Tensor padded = model::empty({kBlock, a.size(1)}, a.options()),
                     result = model::empty({kBlock, c.size(1)}, c.options());
    if (arithmetic == Arithmetic::kCompute) {
      padded.narrow(0, 0, rows.count).copy_(from);
      padded.narrow(0, rows.count, kBlock - rows.count).zero_();
    }
    library_->multiply(padded, b, bias, result, Write::kSet, arithmetic);
    if (arithmetic == Arithmetic::kCompute) to.copy_(result.narrow(0, 0, rows.count));
  }

  std::shared_ptr<Products> library_;
};

}  // namespace

std::shared_ptr<Products> rowwise_products(std::shared_ptr<Products> library) {
  return std::make_shared<RowwiseProducts>(std::move(library));
}

}  // namespace th::model
