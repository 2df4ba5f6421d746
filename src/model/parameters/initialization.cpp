#include "th/model/parameters/initialization.hpp"

#include "th/base/hash.hpp"

#include <cmath>
#include <numbers>

namespace th::model {

namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Uniform in (0, 1) from 53 bits of a hash.
double uniform(std::uint64_t word) { return (static_cast<double>(word >> 11) + 0.5) * 0x1.0p-53; }

}  // namespace

void initialize_elements(const TensorSpec& tensor, std::uint64_t seed, std::int64_t d_model,
                         std::int64_t begin, std::int64_t count, float* out) {
  const std::uint64_t key = hash_text(tensor.name, seed);
  const bool norm = tensor.name.find("norm") != std::string::npos;
  const double width = std::pow(static_cast<double>(d_model), -0.5);
  if (tensor.shape.size() == 1 && !ends_with(tensor.name, "output_projection.bias")) {
    const float value = norm && ends_with(tensor.name, "weight") ? 1.0F : 0.0F;
    for (std::int64_t i = 0; i < count; ++i) out[i] = value;
    return;
  }
  const bool embedding =
      ends_with(tensor.name, "embedding.weight") || ends_with(tensor.name, "positions.weight");
  const bool output = tensor.name.rfind("output_projection", 0) == 0;
  double bound = width;
  if (!embedding && !output)
    bound = std::sqrt(6.0 / static_cast<double>(tensor.shape[0] + tensor.shape[1])) /
            tensor.initial_divisor;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::uint64_t>(begin + i);
    if (embedding) {
      const double radius = std::sqrt(-2.0 * std::log(uniform(hash_pair(key, 2 * index))));
      out[i] = static_cast<float>(
          width * radius *
          std::cos(2.0 * std::numbers::pi * uniform(hash_pair(key, 2 * index + 1))));
    } else {
      out[i] = static_cast<float>(bound * (2.0 * uniform(hash_pair(key, index)) - 1.0));
    }
  }
}

}  // namespace th::model
