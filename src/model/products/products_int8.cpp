#include "model/ops/host_threads.hpp"
#include "model/products/int8_kernel.hpp"
#include "model/products/linear_weights.hpp"
#include "model/products/products.hpp"
#include "th/base/build_info.hpp"
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

/// A weight [N, K] by row, as Int8Product wants it.
struct QuantizedWeight {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};

QuantizedWeight quantized(const float* weight, std::int64_t stride, std::int64_t outputs,
                          std::int64_t inputs) {
  const std::int64_t row_bytes = int8_stride(inputs), all = int8_outputs(outputs);
  QuantizedWeight out;
  out.values.assign(static_cast<std::size_t>(all * row_bytes), 0);
  for (std::int64_t n = 0; n < outputs; ++n) {
    const float* row = weight + n * stride;
    float most = 0;
    for (std::int64_t k = 0; k < inputs; ++k) most = std::max(most, std::abs(row[k]));
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < inputs && most > 0; ++k) {
      const auto value = static_cast<std::int8_t>(std::lround(row[k] * (127.0F / most)));
      out.values[static_cast<std::size_t>(int8_place(n, k, row_bytes))] = value;
      sum += value;
    }
    out.scales.push_back(most / 127.0F);
    out.sums.push_back(sum);
  }
  out.scales.resize(static_cast<std::size_t>(all));
  out.sums.resize(static_cast<std::size_t>(all));
  return out;
}

class Int8Products final : public Products {
 public:
  explicit Int8Products(std::shared_ptr<Products> others) : others_(std::move(others)) {}
  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
#if defined(__x86_64__)
    if (is_linear(a, b, c) && write == Write::kSet && a.size(1) <= kMostInt8Inputs)
      return multiply_linear(a, b, bias, c, arithmetic);
#endif
    others_->multiply(a, b, bias, c, write, arithmetic);
  }
  [[nodiscard]] std::string name() const override { return "int8"; }

 private:
#if defined(__x86_64__)
  void multiply_linear(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                       const at::Tensor& c, Arithmetic arithmetic) {
    const std::int64_t rows = a.size(0), inputs = a.size(1), stride = int8_stride(inputs);
    const at::Tensor x = model::empty({rows, stride}, at::TensorOptions().dtype(at::kByte));
    const at::Tensor scales = model::empty({rows}, a.options());
    if (arithmetic == Arithmetic::kShapesOnly) return;
    const QuantizedWeight& weight = weights_.of(
        b, [&] { return quantized(b.const_data_ptr<float>(), b.stride(1), b.size(1), inputs); });
    for (std::int64_t m = 0; m < rows; ++m) {
      avx512_vnni::quantize_row({.row = a.const_data_ptr<float>() + m * a.stride(0),
                                 .inputs = inputs,
                                 .x = x.data_ptr<std::uint8_t>() + m * stride,
                                 .scale = scales.data_ptr<float>() + m});
    }
    Int8Product product{.x = x.const_data_ptr<std::uint8_t>(),
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
    on_threads((product.last + kInt8Columns - 1) / kInt8Columns,
               [](void* context, std::int64_t begin, std::int64_t end, std::int64_t) {
                 Int8Product part = *static_cast<const Int8Product*>(context);
                 part.first = begin * kInt8Columns;
                 part.last = std::min(end * kInt8Columns, part.last);
                 avx512_vnni::multiply_int8(part);
               },
               &product);
  }
#endif
  std::shared_ptr<Products> others_;
  KeptWeights<QuantizedWeight> weights_;
};

}  // namespace

bool has_int8_products() {
#if defined(__x86_64__)
  return instruction_set() == "avx512" && __builtin_cpu_supports("avx512vnni") != 0;
#else
  return false;
#endif
}

std::shared_ptr<Products> int8_products(std::shared_ptr<Products> others) {
  return std::make_shared<Int8Products>(std::move(others));
}

}  // namespace th::model
