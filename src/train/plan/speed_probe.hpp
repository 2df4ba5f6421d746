#pragma once

#include <cstdint>

#include "th/model/products/gemm.hpp"

namespace th::train {

/// Speeds of this machine with nothing else running, from about a fifth of a second of work.
struct SpeedProbe {
  double gemm_flops = 0;  ///< of the working type, a multiply-add counts two, a second, one thread
  double copy_bytes = 0;  ///< a second, one thread: read and written once each
};
[[nodiscard]] SpeedProbe probe_speed(const model::Gemm& gemm, std::int64_t width,
                                     std::int64_t inner, config::Precision dtype);

}  // namespace th::train
