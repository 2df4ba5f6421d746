#include "th/zero/host_device.hpp"

#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace th::zero {

using runtime::Stream;

void* HostDevice::take(runtime::Place, std::int64_t bytes) {
  constexpr std::size_t kLine = 64, kHugePage = std::size_t{2} << 20;
  const auto wanted = static_cast<std::size_t>(bytes);
  const std::size_t alignment =
      wanted >= 4 * kHugePage ? kHugePage : kLine;  // what is read from end to end each step
  void* memory = std::aligned_alloc(alignment, (wanted + kLine - 1) / kLine * kLine);
  if (memory == nullptr) throw std::bad_alloc();
  if (alignment == kHugePage)
    (void)madvise(memory, wanted / kHugePage * kHugePage,
                  MADV_HUGEPAGE);  // whole ones alone: no memory beyond what was asked for
  return memory;
}

void HostDevice::give(runtime::Place, void* memory) noexcept { std::free(memory); }
std::unique_ptr<Stream> HostDevice::make_stream(runtime::StreamUse) {
  return runtime::make_thread_stream();
}

void HostDevice::update(Stream&, const runtime::UpdateFactors& factors,
                        const runtime::UpdateOperands& operands) {
  apply_update(factors, operands);
}
void HostDevice::block_square_sums(Stream&, const void* x, ElementType type, std::int64_t blocks,
                                   double* out) {
  zero::block_square_sums(x, type, blocks, out);
}
void HostDevice::end_step(Stream&, const runtime::StepRecords& records) { zero::end_step(records); }
void HostDevice::tree_sum(Stream&, const runtime::TreeSum& sum) { zero::tree_sum(sum); }
void HostDevice::accumulate(Stream&, float* y, const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
}
void HostDevice::round(Stream&, const float* from, ElementType type, void* to, std::int64_t count) {
  round_elements(from, type, to, count);
}

}  // namespace th::zero
