#include "model/ops/host_threads.hpp"
#include "model/products/kernels/row_kernel.hpp"
#include "model/products/linear_weights.hpp"
#include "model/products/products.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace th::model {

namespace {

/// Rows of a product that a library computes together, always so many: its way of adding may depend
/// on the count.
constexpr std::int64_t kBlock = 32;
/// How rows of a type are multiplied with panels: their steps, of so many elements that a whole
/// number of steps is taken, and columns that a thread computes together.
template <typename T>
struct RowWay;
template <>
struct RowWay<float> {
  static constexpr std::int64_t kElements = 1, kWhole = 1;
  static constexpr std::int64_t kColumns = kRowPanels * kRowPanel;
  [[nodiscard]] static auto multiply() {
    return row_kernels() != nullptr ? row_kernels()->multiply : nullptr;
  }
};
template <>
struct RowWay<Bf16> {
  static constexpr std::int64_t kElements = 2, kWhole = kElements * kBf16Pairs;
  static constexpr std::int64_t kColumns = kBf16Panels * kRowPanel;
  [[nodiscard]] static auto multiply() { return bf16_multiply(); }
};

/// A product whose columns are dealt to threads in groups; the panels of a group are there, or are
/// made for it.
template <typename T>
struct Dealt {
  RowProduct<T> product;     ///< its panels: those of all columns, or null
  PanelsOfRows rows{};       ///< where they are made
  float* scratch = nullptr;  ///< kColumns K floats a thread

  void multiply(std::int64_t group, std::int64_t thread) const {
    constexpr std::int64_t kColumns = RowWay<T>::kColumns;
    RowProduct<T> part = product;
    part.first = group * kColumns;
    part.last = std::min(part.first + kColumns, product.last);
    if (product.panels != nullptr) {
      part.panels += part.first * part.inputs;
    } else {
      PanelsOfRows own = rows;
      own.first = part.first;
      own.last = part.last;
      own.panels = scratch + thread * kColumns * part.inputs;
      row_kernels()->make_panels(own);
      part.panels = own.panels;
    }
    RowWay<T>::multiply()(part);
  }
};

/// Rows of which each has whole steps: the same, or copies with zeros behind.
template <typename T>
at::Tensor whole_rows(const at::Tensor& rows, Arithmetic arithmetic) {
  constexpr std::int64_t kWhole = RowWay<T>::kWhole;
  const std::int64_t inputs = rows.size(1), all = (inputs + kWhole - 1) / kWhole * kWhole;
  if (all == inputs && rows.stride(0) % RowWay<T>::kElements == 0) return rows;
  at::Tensor out = model::empty({rows.size(0), all}, rows.options());
  if (arithmetic == Arithmetic::kShapesOnly) return out;
  out.narrow(1, inputs, all - inputs).zero_();
  out.narrow(1, 0, inputs).copy_(rows);
  return out;
}

class RowwiseProducts final : public Products {
 public:
  RowwiseProducts(std::shared_ptr<Products> library, WeightLife weights)
      : library_(std::move(library)), weights_(weights) {}
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    // Batches are attention's, whose sizes are those of one sentence or group.
    if (a.dim() == 3) return by_library(a, b, bias, c, write, arithmetic);
    ensure(write == Write::kSet, "RowwiseProducts: results are set, never added to");
    if (is_linear<float>(a, b, c) && RowWay<float>::multiply() != nullptr)
      return multiply_linear<float>(a, b, bias, c, arithmetic);
    if (is_linear<Bf16>(a, b, c) && RowWay<Bf16>::multiply() != nullptr)
      return multiply_linear<Bf16>(a, b, bias, c, arithmetic);
    // Taken where no block is cut too: a decoding whose rows become fewer never takes more.
    const Room room{model::empty({kBlock, a.size(1)}, a.options()),
                    model::empty({kBlock, c.size(1)}, c.options())};
    for (std::int64_t row = 0; row < a.size(0); row += kBlock) {
      const std::int64_t count = std::min(kBlock, a.size(0) - row);
      const at::Tensor from = a.narrow(0, row, count), to = c.narrow(0, row, count);
      if (count == kBlock) {
        by_library(from, b, bias, to, Write::kSet, arithmetic);
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

  /// A library is used by one thread at a time; products of several types share one.
  void by_library(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                  const at::Tensor& c, Write write, Arithmetic arithmetic) {
    static std::mutex mutex;
    const std::scoped_lock lock(mutex);
    library_->multiply(a, b, bias, c, write, arithmetic);
  }
  template <typename T>
  void multiply_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                       const at::Tensor& c, Arithmetic arithmetic) {
    constexpr std::int64_t kColumns = RowWay<T>::kColumns;
    const at::Tensor x = whole_rows<T>(a, arithmetic);
    const std::int64_t inputs = x.size(1) / RowWay<T>::kElements;
    at::Tensor scratch, weight;
    if (weights_ == WeightLife::kChange) {
      weight = whole_rows<T>(b.t(), arithmetic);
      scratch =
          model::empty({at::get_num_threads(), kColumns * inputs}, a.options().dtype(at::kFloat));
    }
    if (arithmetic == Arithmetic::kShapesOnly) return;
    Dealt<T> dealt{.product = {.x = elements<T>(x),
                               .x_stride = x.stride(0),
                               .bias = bias.defined() ? elements<T>(bias) : nullptr,
                               .y = elements<T>(c),
                               .y_stride = c.stride(0),
                               .rows = x.size(0),
                               .inputs = inputs,
                               .last = c.size(1)}};
    if (weights_ == WeightLife::kStay) {
      dealt.product.panels =
          panels_.of(b, [&] { return made_panels<T>(b.t()); }).template const_data_ptr<float>();
    } else {
      dealt.rows = rows_of<T>(weight);
      dealt.scratch = scratch.template data_ptr<float>();
    }
    over_threads((c.size(1) + kColumns - 1) / kColumns,
                 [&](std::int64_t begin, std::int64_t end, std::int64_t thread) {
                   for (std::int64_t group = begin; group < end; ++group)
                     dealt.multiply(group, thread);
                 });
  }
  /// All rows of a weight that has whole steps. Elements that are multiplied together count as one.
  template <typename T>
  static PanelsOfRows rows_of(const at::Tensor& weight) {
    return {.weight = reinterpret_cast<const float*>(elements<T>(weight)),
            .stride = weight.stride(0) / RowWay<T>::kElements,
            .inputs = weight.size(1) / RowWay<T>::kElements,
            .last = weight.size(0)};
  }
  template <typename T>
  static at::Tensor made_panels(const at::Tensor& given) {
    const at::Tensor weight = whole_rows<T>(given, Arithmetic::kCompute);
    PanelsOfRows rows = rows_of<T>(weight);
    // The last group of columns is multiplied whole.
    constexpr std::int64_t kColumns = RowWay<T>::kColumns;
    const std::int64_t outputs = (rows.last + kColumns - 1) / kColumns * kColumns;
    at::Tensor panels =
        model::empty({panel_floats(outputs, rows.inputs)}, at::TensorOptions().dtype(at::kFloat));
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
    by_library(room.rows, b, bias, room.result, Write::kSet, arithmetic);
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
