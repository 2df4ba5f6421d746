#include "transport_buffers.hpp"

#include "th/runtime/memory_ledger.hpp"
#include "th/runtime/mpi.hpp"

#include <cstring>

namespace th::runtime {

namespace {

float* align_up(void* pointer) {
  const auto past = reinterpret_cast<std::uintptr_t>(pointer) % kBufferAlignment;
  return reinterpret_cast<float*>(static_cast<char*>(pointer) + (past == 0 ? 0 : kBufferAlignment - past));
}

}  // namespace

WindowBuffer::WindowBuffer(MPI_Comm node, std::int64_t elements) : elements_(elements) {
  const MPI_Aint bytes = static_cast<MPI_Aint>((elements * 4 + 2 * kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment);
  check_mpi(MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, node, &base_, &window_), "MPI_Win_allocate_shared");
  int ranks = 0;
  MPI_Comm_size(node, &ranks);
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint size = 0;
    int unit = 0;
    void* at = nullptr;
    check_mpi(MPI_Win_shared_query(window_, r, &size, &unit, &at), "MPI_Win_shared_query");
    bases_.push_back(align_up(at));
  }
  data_ = align_up(base_);
  std::memset(data_, 0, static_cast<std::size_t>(elements) * 4);
  note_allocation(base_, static_cast<std::size_t>(elements) * 4);
  check_mpi(MPI_Barrier(node), "MPI_Barrier");
}

WindowBuffer::~WindowBuffer() {
  note_release(base_);
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0) MPI_Win_free(&window_);
}

}  // namespace th::runtime
