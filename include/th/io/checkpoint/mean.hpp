#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace th::io {

/// The mean of the same elements of several checkpoints. They are added in fp64 in the order in
/// which they come, and rounded to fp32 once, so the bits depend on nothing else.
class Mean {
 public:
  /// Begins a mean of so many elements.
  void begin(std::size_t elements) {
    sum_.assign(elements, 0.0);
    count_ = 0;
  }
  void add(std::span<const float> values) {
    for (std::size_t i = 0; i < values.size(); ++i) sum_[i] += values[i];
    ++count_;
  }
  void write(std::span<float> out) const {
    std::transform(sum_.begin(), sum_.end(), out.begin(),
                   [&](double sum) { return static_cast<float>(sum / count_); });
  }

 private:
  std::vector<double> sum_;
  double count_ = 0;
};

}  // namespace th::io
