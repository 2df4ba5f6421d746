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

WindowBuffer::WindowBuffer(MPI_Comm node, std::int64_t elements, Copies copies) : elements_(elements), copies_(copies) {
  const MPI_Aint bytes = static_cast<MPI_Aint>((elements * 4 + 2 * kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment);
  int ranks = 0, place = 0;
  MPI_Comm_size(node, &ranks);
  MPI_Comm_rank(node, &place);
  void* own = nullptr;
  check_mpi(MPI_Win_allocate_shared(one_a_node() && place > 0 ? 0 : bytes, 1, MPI_INFO_NULL, node, &own, &window_), "MPI_Win_allocate_shared");
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint size = 0;
    int unit = 0;
    void* at = nullptr;
    check_mpi(MPI_Win_shared_query(window_, one_a_node() ? 0 : r, &size, &unit, &at), "MPI_Win_shared_query");
    bases_.push_back(align_up(at));
  }
  data_ = bases_[static_cast<std::size_t>(place)];
  // Of one copy each rank touches a part first, so that it lies near all of them.
  const std::int64_t begin = one_a_node() ? elements * place / ranks : 0;
  const std::int64_t end = one_a_node() ? elements * (place + 1) / ranks : elements;
  std::memset(data_ + begin, 0, static_cast<std::size_t>(end - begin) * 4);
  note_allocation(data_, static_cast<std::size_t>(elements) * 4);
  check_mpi(MPI_Barrier(node), "MPI_Barrier");
}

WindowBuffer::~WindowBuffer() {
  note_release(data_);
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0) MPI_Win_free(&window_);
}

}  // namespace th::runtime
