#include "runtime/transport/node_barrier.hpp"

#include "th/runtime/transport/free_cores.hpp"

#include <ctime>
#include <new>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace th::runtime {

namespace {

constexpr MPI_Aint kStateBytes = 128;  // room to align to a cache line
// About two milliseconds: a sleep and its wake-up cost more than the usual wait.
constexpr int kSpinsWhenCoresSuffice = 100000;

constexpr timespec kLimit{1, 0};  // a missed wake costs a second, never a hang
constexpr timespec kProgressLimit{
    0, 2000000};  // with messages: MPI is looked after every two milliseconds

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen, const timespec& limit) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void futex_wake_all(std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, INT32_MAX, nullptr,
          nullptr, 0);
}

}  // namespace

Waiting waiting_of(const Communicator& node) {
  return cores_of(node) >= node.size() ? Waiting::kSpinFirst : Waiting::kAsleep;
}

NodeBarrier::NodeBarrier(const Communicator& node, Waiting waiting, MPI_Comm progress)
    : progress_(progress),
      ranks_(static_cast<std::uint32_t>(node.size())),
      spins_(waiting == Waiting::kSpinFirst ? kSpinsWhenCoresSuffice : 0) {
  char* base = nullptr;
  check_mpi(MPI_Win_allocate_shared(node.rank() == 0 ? kStateBytes : 0, 1, MPI_INFO_NULL,
                                    node.get(), &base, &window_),
            "MPI_Win_allocate_shared");
  MPI_Aint size = 0;
  int unit = 0;
  check_mpi(MPI_Win_shared_query(window_, 0, &size, &unit, &base), "MPI_Win_shared_query");
  auto address = (reinterpret_cast<std::uintptr_t>(base) + 63) & ~std::uintptr_t{63};
  state_ = reinterpret_cast<State*>(address);
  if (node.rank() == 0) new (state_) State{0, 0};
  check_mpi(MPI_Barrier(node.get()), "MPI_Barrier");
}

NodeBarrier::~NodeBarrier() {
  if (window_ != MPI_WIN_NULL && frees_together()) MPI_Win_free(&window_);
}

void NodeBarrier::wait() {
  if (ranks_ == 1) return;
  const std::uint32_t generation = state_->generation.load(std::memory_order_acquire);
  if (state_->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == ranks_) {
    state_->arrived.store(0, std::memory_order_relaxed);
    state_->generation.store(generation + 1, std::memory_order_release);
    futex_wake_all(state_->generation);
    return;
  }
  for (int i = 0; i < spins_; ++i) {
    if (state_->generation.load(std::memory_order_acquire) != generation) return;
    __builtin_ia32_pause();
  }
  while (state_->generation.load(std::memory_order_acquire) == generation) {
    futex_wait(state_->generation, generation,
               progress_ == MPI_COMM_NULL ? kLimit : kProgressLimit);
    int arrived = 0;
    if (progress_ != MPI_COMM_NULL)
      check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, progress_, &arrived, MPI_STATUS_IGNORE),
                "MPI_Iprobe");
  }
}

}  // namespace th::runtime
