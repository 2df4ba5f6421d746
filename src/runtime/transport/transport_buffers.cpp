#include "runtime/transport/transport_buffers.hpp"

#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi.hpp"

#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

namespace th::runtime {

namespace {

std::byte* align_up(void* pointer) {
  const auto past = reinterpret_cast<std::uintptr_t>(pointer) % kBufferAlignment;
  return static_cast<std::byte*>(pointer) + (past == 0 ? 0 : kBufferAlignment - past);
}

}  // namespace

WindowBuffer::WindowBuffer(MPI_Comm node, std::int64_t bytes, Copies copies, std::int64_t counted)
    : bytes_(bytes), copies_(copies) {
  const MPI_Aint room = static_cast<MPI_Aint>((bytes + 2 * kBufferAlignment - 1) /
                                              kBufferAlignment * kBufferAlignment);
  int ranks = 0, place = 0;
  MPI_Comm_size(node, &ranks);
  MPI_Comm_rank(node, &place);
  void* own = nullptr;
  check_mpi(MPI_Win_allocate_shared(one_a_node() && place > 0 ? 0 : room, 1, MPI_INFO_NULL, node,
                                    &own, &window_),
            "MPI_Win_allocate_shared");
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint size = 0;
    int unit = 0;
    void* at = nullptr;
    check_mpi(MPI_Win_shared_query(window_, one_a_node() ? 0 : r, &size, &unit, &at),
              "MPI_Win_shared_query");
    bases_.push_back(align_up(at));
  }
  data_ = bases_[static_cast<std::size_t>(place)];
  // Of one copy each rank touches a part first, so that it lies near all of them.
  const std::int64_t begin = one_a_node() ? bytes * place / ranks : 0;
  const std::int64_t end = one_a_node() ? bytes * (place + 1) / ranks : bytes;
  std::memset(data_ + begin, 0, static_cast<std::size_t>(end - begin));
  if (const auto [first, length] = whole_pages(begin, end - begin);
      one_a_node() && ranks > 1 && length > 0) {
    // Only memory that others map too outlives a rank's forgetting; an MPI may have taken other
    // memory.
    auto* proof = static_cast<float*>(first);
    *proof = 1;
    madvise(first, length, MADV_DONTNEED);
    forgets_ = *proof == 1;
    *proof = 0;
  }
  note_allocation(data_, static_cast<std::size_t>(counted));
  check_mpi(MPI_Barrier(node), "MPI_Barrier");
}

std::pair<void*, std::size_t> WindowBuffer::whole_pages(std::int64_t offset,
                                                        std::int64_t size) const noexcept {
  static const auto kPage = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(data_ + offset) + kPage - 1) / kPage * kPage;
  const auto end = reinterpret_cast<std::uintptr_t>(data_ + offset + size) / kPage * kPage;
  return {reinterpret_cast<void*>(begin), begin < end ? end - begin : 0};
}

void WindowBuffer::forget(std::int64_t offset, std::int64_t size) noexcept {
  if (!forgets_) return;
  if (const auto [first, bytes] = whole_pages(offset, size); bytes > 0)
    madvise(first, bytes, MADV_DONTNEED);
}

WindowBuffer::~WindowBuffer() {
  note_release(data_);
  if (frees_together()) MPI_Win_free(&window_);
}

}  // namespace th::runtime
