#include "th/model/memory/bit_flip.hpp"

#include "th/base/hash.hpp"

#include <cmath>

namespace th::model {

void flip_bit(const at::Tensor& x, std::uint64_t draw) {
  constexpr double kNearZero = 1e-3;
  const at::Tensor flat = x.view({-1});
  const std::int64_t count = flat.numel();
  if (count == 0) return;
  const auto drawn = [draw](std::uint64_t what, std::int64_t below) {
    return static_cast<std::int64_t>(hash_pair(draw, what) % static_cast<std::uint64_t>(below));
  };
  std::int64_t at = drawn(0, count);
  for (std::int64_t tried = 1; tried < count; ++tried) {
    if (std::abs(flat.narrow(0, at, 1).item<double>()) >= kNearZero) break;
    at = (at + 1) % count;
  }
  const std::int64_t half = x.element_size() * 4;  // bits
  const std::int64_t bit = half + drawn(1, half), width = 2 * half;
  // As the number that a signed integer of this width reads it as.
  const std::int64_t mask = bit + 1 == width ? -(std::int64_t{1} << bit) : std::int64_t{1} << bit;
  const at::Tensor bits = flat.narrow(0, at, 1).view(width == 32 ? at::kInt : at::kShort);
  bits.bitwise_xor_(mask);
}

}  // namespace th::model
