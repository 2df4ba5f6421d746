#include "model/ops/host_threads.hpp"
#include "model/products/linear_weights.hpp"
#include "model/products/products.hpp"
#include "model/products/row_kernel.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

namespace th::model {

namespace {

/// Rows of a product that a library computes together, always so many: its way of adding may depend
/// on the count.
constexpr std::int64_t kBlock = 32;
/// Columns that a thread computes together.
constexpr std::int64_t kGroupColumns = kRowPanels * kRowPanel;

/// A product whose columns are dealt to threads in groups; the panels of a group are there, or are
/// made for it.
struct Dealt {
  RowProduct product;        ///< its panels: those of all columns, or null
  PanelsOfRows rows;         ///< where they are made
  float* scratch = nullptr;  ///< kGroupColumns K floats a thread
};

void multiply_group(const Dealt& dealt, std::int64_t group, std::int64_t thread) {
  RowProduct part = dealt.product;
  part.first = group * kGroupColumns;
  part.last = std::min(part.first + kGroupColumns, dealt.product.last);
  if (dealt.product.panels != nullptr) {
    part.panels += part.first * part.inputs;
  } else {
    PanelsOfRows rows = dealt.rows;
    rows.first = part.first;
    rows.last = part.last;
    rows.panels = dealt.scratch + thread * kGroupColumns * part.inputs;
    row_kernels()->make_panels(rows);
    part.panels = rows.panels;
  }
  row_kernels()->multiply(part);
}

class RowwiseProducts final : public Products {
 public:
  RowwiseProducts(std::shared_ptr<Products> library, WeightLife weights)
      : library_(std::move(library)), weights_(weights) {}
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    // Batches are attention's, whose sizes are those of one sentence or group.
    if (a.dim() == 3) return library_->multiply(a, b, bias, c, write, arithmetic);
    ensure(write == Write::kSet, "RowwiseProducts: results are set, never added to");
    if (is_linear(a, b, c) && row_kernels() != nullptr)
      return multiply_linear(a, b, bias, c, arithmetic);
    // Taken where no block is cut too: a decoding whose rows become fewer never takes more.
    const Room room{model::empty({kBlock, a.size(1)}, a.options()),
                    model::empty({kBlock, c.size(1)}, c.options())};
    for (std::int64_t row = 0; row < a.size(0); row += kBlock) {
      const std::int64_t count = std::min(kBlock, a.size(0) - row);
      const at::Tensor from = a.narrow(0, row, count), to = c.narrow(0, row, count);
      if (count == kBlock) {
        library_->multiply(from, b, bias, to, Write::kSet, arithmetic);
      } else {
        multiply_cut(from, b, bias, to, room, arithmetic);
      }
    }
  }
  [[nodiscard]] std::string name() const override { return library_->name(); }

 private:
  /// A whole block of rows and of their result, for one that is cut.
  struct Room {
    at::Tensor rows, result;
  };

  void multiply_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                       const at::Tensor& c, Arithmetic arithmetic) {
    at::Tensor scratch;
    if (weights_ == WeightLife::kChange)
      scratch = model::empty({at::get_num_threads(), kGroupColumns * a.size(1)}, a.options());
    if (arithmetic == Arithmetic::kShapesOnly) return;
    Dealt dealt{
        .product = {.x = a.const_data_ptr<float>(),
                    .x_stride = a.stride(0),
                    .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                    .y = c.data_ptr<float>(),
                    .y_stride = c.stride(0),
                    .rows = a.size(0),
                    .inputs = a.size(1),
                    .last = c.size(1)},
        .rows = {.weight = b.const_data_ptr<float>(), .stride = b.stride(1), .inputs = a.size(1)},
        .scratch = scratch.defined() ? scratch.data_ptr<float>() : nullptr};
    if (weights_ == WeightLife::kStay)
      dealt.product.panels =
          panels_.of(b, [&] { return made_panels(dealt.rows, c.size(1)); }).const_data_ptr<float>();
    on_threads((c.size(1) + kGroupColumns - 1) / kGroupColumns,
               [](void* context, std::int64_t begin, std::int64_t end, std::int64_t thread) {
                 for (std::int64_t group = begin; group < end; ++group)
                   multiply_group(*static_cast<const Dealt*>(context), group, thread);
               },
               &dealt);
  }
  static at::Tensor made_panels(PanelsOfRows rows, std::int64_t outputs) {
    at::Tensor panels =
        model::empty({panel_floats(outputs, rows.inputs)}, at::TensorOptions().dtype(at::kFloat));
    rows.last = outputs;
    rows.panels = panels.data_ptr<float>();
    row_kernels()->make_panels(rows);
    return panels;
  }
  void multiply_cut(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                    const at::Tensor& c, const Room& room, Arithmetic arithmetic) {
    const std::int64_t count = a.size(0);
    if (arithmetic == Arithmetic::kCompute) {
      room.rows.narrow(0, 0, count).copy_(a);
      room.rows.narrow(0, count, kBlock - count).zero_();
    }
    library_->multiply(room.rows, b, bias, room.result, Write::kSet, arithmetic);
    if (arithmetic == Arithmetic::kCompute) c.copy_(room.result.narrow(0, 0, count));
  }

  std::shared_ptr<Products> library_;
  WeightLife weights_;
  KeptWeights<at::Tensor> panels_;
};

}  // namespace

std::shared_ptr<Products> rowwise_products(std::shared_ptr<Products> library, WeightLife weights) {
  return std::make_shared<RowwiseProducts>(std::move(library), weights);
}

}  // namespace th::model
