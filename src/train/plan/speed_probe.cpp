#include "train/plan/speed_probe.hpp"

#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "train/plan/text_format.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <vector>

namespace th::train {

namespace {

/// Processor seconds of all threads of this process.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

MeasuredRate measure_rate(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  const double before = processor_seconds();
  const auto start = Clock::now();
  int calls = 0;
  double seconds = 0;
  do {
    work();
    ++calls;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < 0.1);
  return {calls / seconds, std::min(1.0, (processor_seconds() - before) / seconds)};
}

std::string measured_text(double core_share) {
  constexpr double kAlone = 0.9;  // interrupts and the clock's ticks take the rest
  if (core_share >= kAlone) return "measured here";
  return format(
      "measured while other programs used the cores: the probe had %.0f %% of one, so the time on "
      "free cores is shorter",
      100 * core_share);
}

SpeedProbe probe_speed(const model::Gemm& gemm, std::int64_t width, std::int64_t inner,
                       ElementType dtype) {
  constexpr std::int64_t kRows = 512;
  constexpr std::size_t kBytes = 32 << 20;
  c10::InferenceMode no_grad;
  const at::TensorOptions options = at::TensorOptions().dtype(model::scalar_type(dtype));
  const at::Tensor x = model::empty({kRows, width}, options).fill_(1),
                   weight = model::empty({inner, width}, options).fill_(1);
  SpeedProbe probe;
  const MeasuredRate products = measure_rate([&] { (void)gemm.forward(x, weight); });
  probe.gemm_flops = products.calls * 2.0 * static_cast<double>(kRows * width * inner);
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  const MeasuredRate copies = measure_rate([&] { std::memcpy(to.data(), from.data(), kBytes); });
  probe.copy_bytes = copies.calls * static_cast<double>(kBytes);
  probe.core_share = std::min(products.core_share, copies.core_share);
  return probe;
}

}  // namespace th::train
