#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "th/model/products/gemm.hpp"

namespace th::train {

/// How often some work was done a second, and the part of a core that it had meanwhile, 1 at most:
/// processor time by wall time.
struct MeasuredRate {
  double calls = 0;
  double core_share = 1;
};
/// Over about a tenth of a second, after one call to warm up.
[[nodiscard]] MeasuredRate measure_rate(const std::function<void()>& work);
/// "measured here", or that other programs used the cores meanwhile.
[[nodiscard]] std::string measured_text(double core_share);

/// Speeds of this machine, from about a fifth of a second of work.
struct SpeedProbe {
  double gemm_flops = 0;  ///< of the working type, a multiply-add counts two, a second, one thread
  double copy_bytes = 0;  ///< a second, one thread: read and written once each
  double core_share = 1;  ///< the smaller of both: less where other programs used the cores
};
[[nodiscard]] SpeedProbe probe_speed(const model::Gemm& gemm, std::int64_t width,
                                     std::int64_t inner, ElementType dtype);

}  // namespace th::train
