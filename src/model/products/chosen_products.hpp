#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "model/ops/host_threads.hpp"
#include "th/model/products/gemm.hpp"

// Linear layers of which each row of the input is asked for some outputs alone.
namespace th::model {

/// Ids whose rows of the weight stay in a processor's cache while all groups take theirs.
inline constexpr std::int64_t kChosenBlock = 64;

/// The outputs of all groups, block of ids after block of ids.
template <typename Part>
class ChosenWalk {
 public:
  ChosenWalk(std::span<const ChosenRows> groups, float* y, const Part& part)
      : groups_(groups), y_(y), part_(part), threads_(at::get_num_threads()) {
    for (const ChosenRows& group : groups)
      if (!group.ids.empty()) last_ = std::max<std::int64_t>(last_, group.ids.back());
  }
  /// Of all threads.
  void run() {
    on_threads(
        threads_,
        [](void* walk, std::int64_t begin, std::int64_t end, std::int64_t) {
          for (std::int64_t thread = begin; thread < end; ++thread)
            static_cast<const ChosenWalk*>(walk)->take(thread);
        },
        this);
  }

 private:
  /// Every so many-th block: frequent ids, which most groups ask for, stand together.
  void take(std::int64_t thread) const {
    std::vector<std::size_t> next(groups_.size(), 0);
    for (std::int64_t block = thread; block * kChosenBlock <= last_; block += threads_) {
      float* y = y_;
      for (std::size_t g = 0; g < next.size(); ++g) {
        take_block(groups_[g], block * kChosenBlock, next[g], y);
        y += groups_[g].count * std::ssize(groups_[g].ids);
      }
    }
  }
  /// The ids of a group in the block that begins with `first`; `next` is the first of the group
  /// that may be there.
  void take_block(const ChosenRows& group, std::int64_t first, std::size_t& next, float* y) const {
    while (next < group.ids.size() && group.ids[next] < first) ++next;
    const std::size_t begin = next;
    while (next < group.ids.size() && group.ids[next] < first + kChosenBlock) ++next;
    if (next == begin) return;
    for (std::int64_t r = 0; r < group.count; ++r)
      part_(group.first + r, group.ids.subspan(begin, next - begin),
            y + r * std::ssize(group.ids) + static_cast<std::ptrdiff_t>(begin));
  }

  std::span<const ChosenRows> groups_;
  float* y_;
  const Part& part_;
  std::int64_t threads_, last_ = -1;
};

/// Calls part(row of x, ids, y) for pieces that together are all outputs of all groups, on threads.
template <typename Part>
void over_chosen(std::span<const ChosenRows> groups, float* y, const Part& part) {
  ChosenWalk<Part>(groups, y, part).run();
}

/// Gemm::forward_chosen by the kernels of decoding, for operands of any element type.
void multiply_chosen(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     std::span<const ChosenRows> groups, float* y);

}  // namespace th::model
