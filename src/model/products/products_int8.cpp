#include "model/ops/host_threads.hpp"
#include "model/products/chosen_products.hpp"
#include "model/products/kernels/int8_kernel.hpp"
#include "model/products/linear_weights.hpp"
#include "model/products/products.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace th::model {

namespace {

/// Columns that a thread computes together.
constexpr std::int64_t kInt8Columns = 64;

/// A weight [N, K], its rows quantised.
struct QuantizedWeight {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};

/// The weight whose transpose b is; element (n, k) lies in place(n, k) of `bytes`, which count as
/// `all` outputs.
template <typename Place>
QuantizedWeight quantized(const at::Tensor& b, std::int64_t bytes, std::int64_t all,
                          const Place& place) {
  const std::int64_t inputs = b.size(0), outputs = b.size(1);
  QuantizedWeight out;
  out.values.assign(static_cast<std::size_t>(bytes), 0);
  for (std::int64_t n = 0; n < outputs; ++n) {
    const float* row = b.const_data_ptr<float>() + n * b.stride(1);
    float most = 0;
    for (std::int64_t k = 0; k < inputs; ++k) most = std::max(most, std::abs(row[k]));
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < inputs && most > 0; ++k) {
      const auto value = static_cast<std::int8_t>(std::lround(row[k] * (127.0F / most)));
      out.values[static_cast<std::size_t>(place(n, k))] = value;
      sum += value;
    }
    out.scales.push_back(most / 127.0F);
    out.sums.push_back(sum);
  }
  out.scales.resize(static_cast<std::size_t>(all));
  out.sums.resize(static_cast<std::size_t>(all));
  return out;
}

/// As Int8Product wants it.
QuantizedWeight in_panels(const at::Tensor& b) {
  const std::int64_t stride = int8_stride(b.size(0)), all = int8_outputs(b.size(1));
  return quantized(b, all * stride, all,
                   [=](std::int64_t n, std::int64_t k) { return int8_place(n, k, stride); });
}

/// As ChosenInt8 wants it.
QuantizedWeight in_rows(const at::Tensor& b) {
  const std::int64_t stride = int8_stride(b.size(0)), all = b.size(1);
  return quantized(b, all * stride, all,
                   [=](std::int64_t n, std::int64_t k) { return n * stride + k; });
}

class Int8Products final : public Products {
 public:
  explicit Int8Products(std::shared_ptr<Products> others) : others_(std::move(others)) {}
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
#if defined(__x86_64__)
    if (is_linear<float>(a, b, c) && write == Write::kSet && a.size(1) <= kMostInt8Inputs)
      return multiply_linear(a, b, bias, c, arithmetic);
#endif
    others_->multiply(a, b, bias, c, write, arithmetic);
  }
#if defined(__x86_64__)
  [[nodiscard]] bool multiply_chosen(const at::Tensor& x, const at::Tensor& weight,
                                     const at::Tensor& bias, std::span<const ChosenRows> groups,
                                     float* y) override {
    if (x.size(1) > kMostInt8Inputs) return false;
    const std::int64_t stride = int8_stride(x.size(1));
    const at::Tensor bytes =
        model::empty({x.size(0), stride}, at::TensorOptions().dtype(at::kByte));
    const at::Tensor scales = model::empty({x.size(0)}, x.options());
    bytes.fill_(kInt8Zero);
    quantize_rows(x, bytes, scales);
    const at::Tensor transposed = weight.t();
    const QuantizedWeight& rows = rows_.of(transposed, [&] { return in_rows(transposed); });
    over_chosen(groups, y, [&](std::int64_t row, std::span<const std::int32_t> ids, float* to) {
      avx512_vnni::multiply_chosen({.x = bytes.const_data_ptr<std::uint8_t>() + row * stride,
                                    .x_scale = scales.const_data_ptr<float>()[row],
                                    .weight = rows.values.data(),
                                    .weight_scale = rows.scales.data(),
                                    .weight_sums = rows.sums.data(),
                                    .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                                    .stride = stride,
                                    .ids = ids.data(),
                                    .count = std::ssize(ids),
                                    .y = to});
    });
    return true;
  }
#endif
  [[nodiscard]] std::string name() const override { return "int8"; }

 private:
#if defined(__x86_64__)
  /// Rows of `a` to those of `x`.
  static void quantize_rows(const at::Tensor& a, const at::Tensor& x, const at::Tensor& scales) {
    over_threads(a.size(0), [&](std::int64_t begin, std::int64_t end, std::int64_t) {
      for (std::int64_t m = begin; m < end; ++m) {
        avx512_vnni::quantize_row({.row = a.const_data_ptr<float>() + m * a.stride(0),
                                   .inputs = a.size(1),
                                   .x = x.data_ptr<std::uint8_t>() + m * x.stride(0),
                                   .scale = scales.data_ptr<float>() + m});
      }
    });
  }
  void multiply_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                       const at::Tensor& c, Arithmetic arithmetic) {
    const std::int64_t rows = a.size(0), inputs = a.size(1), stride = int8_stride(inputs);
    const at::Tensor x = model::empty({rows, stride}, at::TensorOptions().dtype(at::kByte));
    const at::Tensor scales = model::empty({rows}, a.options());
    if (arithmetic == Arithmetic::kShapesOnly) return;
    const QuantizedWeight& weight = weights_.of(b, [&] { return in_panels(b); });
    quantize_rows(a, x, scales);
    const Int8Product product{.x = x.const_data_ptr<std::uint8_t>(),
                              .x_scale = scales.const_data_ptr<float>(),
                              .weight = weight.values.data(),
                              .weight_scale = weight.scales.data(),
                              .weight_sums = weight.sums.data(),
                              .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                              .y = c.data_ptr<float>(),
                              .y_stride = c.stride(0),
                              .rows = rows,
                              .stride = stride,
                              .last = c.size(1)};
    over_threads((product.last + kInt8Columns - 1) / kInt8Columns,
                 [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                   Int8Product part = product;
                   part.first = begin * kInt8Columns;
                   part.last = std::min(end * kInt8Columns, part.last);
                   int8_multiply()(part);
                 });
  }
#endif
  std::shared_ptr<Products> others_;
  KeptWeights<QuantizedWeight> weights_, rows_;
};

}  // namespace

bool has_int8_products() { return int8_multiply() != nullptr; }

std::shared_ptr<Products> int8_products(std::shared_ptr<Products> others) {
  return std::make_shared<Int8Products>(std::move(others));
}

}  // namespace th::model
