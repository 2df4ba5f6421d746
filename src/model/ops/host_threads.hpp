#pragma once

#include <cstdint>

namespace th::model {

/// Work on the numbers [begin, end); `thread` counts the threads that work at the same time.
using RangeWork = void(void* context, std::int64_t begin, std::int64_t end, std::int64_t thread);

/// Calls `work` for ranges that together are [0, count): on LibTorch's threads in th_model
/// (host_threads.cpp), on the calling thread in programs without LibTorch
/// (host_threads_serial.cpp).
void on_threads(std::int64_t count, RangeWork* work, void* context);
/// The same for body(begin, end, thread).
template <typename Body>
void over_threads(std::int64_t count, const Body& body) {
  on_threads(
      count,
      [](void* context, std::int64_t begin, std::int64_t end, std::int64_t thread) {
        (*static_cast<const Body*>(context))(begin, end, thread);
      },
      const_cast<Body*>(&body));
}

}  // namespace th::model
