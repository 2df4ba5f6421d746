#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace th {

/// A sum whose value does not depend on the order of its terms: each is rounded to a multiple of
/// 2^-32, and multiples are added as integers. The sum of the magnitudes must stay below 2^53. A
/// term that is not finite makes the sum not finite.
class ExactSum {
 public:
  /// Whole numbers, multiples of 2^-32 in [0, 2^32), and the sum of terms that were not finite.
  using Parts = std::array<double, 3>;

  void add(double term) {
    if (!std::isfinite(term)) {
      not_finite_ += term;
      return;
    }
    const double whole = std::floor(term);
    whole_ += whole;
    fraction_ += std::llround((term - whole) * kScale);
  }
  /// Parts of several sums may be added one by one, exactly, for up to 2^20 of them.
  [[nodiscard]] Parts parts() const {
    const auto carry = fraction_ >> 32;
    return {whole_ + static_cast<double>(carry), static_cast<double>(fraction_ - (carry << 32)),
            not_finite_};
  }
  [[nodiscard]] static double value(const Parts& parts) {
    return parts[0] + parts[1] / kScale + parts[2];
  }

 private:
  static constexpr double kScale = 4294967296.0;

  double whole_ = 0;
  std::int64_t fraction_ = 0;
  double not_finite_ = 0;
};

}  // namespace th
