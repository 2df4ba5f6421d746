#pragma once

#include <cmath>
#include <cstdint>

#include "th/config/run_config.hpp"

namespace th::model {

/// Fills `out`, [length, d_model], with the sinusoids that model.position = sinusoidal adds to
/// embeddings. Without LibTorch, because th_inspect writes them into other programs' files.
inline void fill_sinusoids(const config::ModelSection& model, std::int64_t length, float* out) {
  const std::int64_t width = model.d_model;
  const bool halves = model.position_layout == config::PositionLayout::kHalves;
  // Column 2i has the frequency 10000^(-2i / divisor).
  const bool marian = model.position_frequency == config::PositionFrequency::kMarian;
  const auto divisor = static_cast<double>(marian ? width - 2 : width);
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t d = 0; d < width; d += 2) {
      const double angle =
          static_cast<double>(t) * std::exp(-std::log(10000.0) * static_cast<double>(d) / divisor);
      float* row = out + t * width;
      row[halves ? d / 2 : d] = static_cast<float>(std::sin(angle));
      if (d + 1 < width)
        row[halves ? d / 2 + width / 2 : d + 1] = static_cast<float>(std::cos(angle));
    }
  }
}

}  // namespace th::model
