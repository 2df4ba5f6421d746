#include "model/ops/host_threads.hpp"

#include <ATen/Parallel.h>

#if !defined(_OPENMP)
#error "at::parallel_for is a serial loop without -fopenmp"
#endif

namespace th::model {

void on_threads(std::int64_t count, RangeWork* work, void* context) {
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    work(context, begin, end, at::get_thread_num());
  });
}

}  // namespace th::model
