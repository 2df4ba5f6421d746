#include "train/plan/speed_probe.hpp"

#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"

#include <chrono>
#include <cstring>
#include <vector>

namespace th::train {

namespace {

/// Calls of `work` a second, over about a tenth of a second after one call to warm up.
template <typename Work>
double rate(Work work) {
  using Clock = std::chrono::steady_clock;
  work();
  const auto start = Clock::now();
  int calls = 0;
  double seconds = 0;
  do {
    work();
    ++calls;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < 0.1);
  return calls / seconds;
}

}  // namespace

SpeedProbe probe_speed(const model::Gemm& gemm, std::int64_t width, std::int64_t inner,
                       config::Precision dtype) {
  constexpr std::int64_t kRows = 512;
  constexpr std::size_t kBytes = 32 << 20;
  c10::InferenceMode no_grad;
  const at::TensorOptions options = at::TensorOptions().dtype(model::scalar_type(dtype));
  const at::Tensor x = model::empty({kRows, width}, options).fill_(1),
                   weight = model::empty({inner, width}, options).fill_(1);
  SpeedProbe probe;
  probe.gemm_flops = rate([&] { (void)gemm.forward(x, weight); }) * 2.0 *
                     static_cast<double>(kRows * width * inner);
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  probe.copy_bytes =
      rate([&] { std::memcpy(to.data(), from.data(), kBytes); }) * static_cast<double>(kBytes);
  return probe;
}

}  // namespace th::train
