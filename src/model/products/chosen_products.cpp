#include "model/products/chosen_products.hpp"

#include "model/ops/decoding/decoding_kernels.hpp"
#include "th/base/error.hpp"
#include "th/model/ops/element.hpp"

namespace th::model {

std::int64_t chosen_count(std::span<const ChosenRows> groups) {
  std::int64_t sum = 0;
  for (const ChosenRows& group : groups) sum += group.count * std::ssize(group.ids);
  return sum;
}

void multiply_chosen(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     std::span<const ChosenRows> groups, float* y) {
  ensure(x.scalar_type() == weight.scalar_type() && x.stride(1) == 1 && weight.stride(1) == 1,
         "multiply_chosen: rows of one element type");
  with_element(x, [&](auto element) {
    using T = decltype(element);
    const ChosenDots<T> all{.x = elements<T>(x),
                            .weight = elements<T>(weight),
                            .stride = weight.stride(0),
                            .inputs = x.size(1),
                            .bias = bias.defined() ? elements<T>(bias) : nullptr};
    over_chosen(groups, y, [&](std::int64_t row, std::span<const std::int32_t> ids, float* to) {
      ChosenDots<T> piece = all;
      piece.x += row * x.stride(0);
      piece.ids = ids.data();
      piece.count = std::ssize(ids);
      piece.y = to;
      chosen_dots(piece);
    });
  });
}

}  // namespace th::model
