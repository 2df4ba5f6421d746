#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda/handles/cuda_handles.hpp"

namespace th::cuda {

constexpr int kThreads = 256;

/// Thread blocks for a loop over `work` items with a stride of the whole grid: enough to fill any
/// GPU, never too many to start.
inline unsigned grid_for(std::int64_t work) {
  return static_cast<unsigned>(
      std::clamp<std::int64_t>((work + kThreads - 1) / kThreads, 1, 16384));
}

inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

}  // namespace th::cuda
