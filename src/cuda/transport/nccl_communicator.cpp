#include "cuda/transport/nccl_communicator.hpp"

#include <cstring>
#include <exception>
#include <thread>

namespace th::cuda {

namespace {

/// Between two looks at a state that changes within microseconds in the usual case, and may take
/// seconds at the start.
void pause(std::chrono::steady_clock::time_point start) {
  if (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(1)) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

std::string seconds_text(std::chrono::duration<double> limit) {
  return std::to_string(static_cast<long>(limit.count())) + " s";
}

}  // namespace

std::string nccl_version() {
  int v = 0;
  if (ncclGetVersion(&v) != ncclSuccess) return "NCCL";
  return "NCCL " + std::to_string(v / 10000) + "." + std::to_string(v % 10000 / 100) + "." +
         std::to_string(v % 100);
}

NcclCommunicator::NcclCommunicator(runtime::ControlCalls& control,
                                   std::chrono::duration<double> limit)
    : limit_(limit), rank_(control.rank()), size_(control.size()) {
  std::string problem;
  try {
    problem = begin(control);
  } catch (...) {
    abort();
    throw;
  }
  std::vector<std::string> all;
  try {
    all = control.gather_texts(problem);
  } catch (...) {
    abort();
    throw;
  }
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r].empty()) continue;
    abort();
    throw NcclError("rank " + std::to_string(r) + ": " + all[r]);
  }
}

/// Makes the communicator; a failure of this rank's is returned as text, so that all ranks can be
/// told.
std::string NcclCommunicator::begin(runtime::ControlCalls& control) {
  std::string id, problem;
  if (rank_ == 0) {
    ncclUniqueId unique{};
    try {
      check_nccl(ncclGetUniqueId(&unique), "ncclGetUniqueId");
      id.assign(unique.internal, sizeof unique.internal);
    } catch (const NcclError& error) {
      problem = error.what();
    }
  }
  control.broadcast(id, 0);
  ncclUniqueId unique{};
  if (id.size() != sizeof unique.internal) return problem;  // rank 0 speaks
  std::memcpy(unique.internal, id.data(), id.size());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  try {
    check_nccl(ncclCommInitRankConfig(&comm_, size_, unique, rank_, &config),
               "ncclCommInitRankConfig", comm_);
    wait_enqueued("ncclCommInitRankConfig");
  } catch (const NcclError& error) {
    return error.what();
  }
  return {};
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ == nullptr) return;
  // A stack that unwinds may have lost its peers: nothing to wait for.
  if (std::uncaught_exceptions() > 0) {
    abort();
    return;
  }
  const Clock::time_point start = Clock::now();
  ncclResult_t state = ncclCommFinalize(comm_);
  while (state == ncclInProgress || state == ncclSuccess) {
    if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess || state != ncclInProgress ||
        past(start))
      break;
    pause(start);
  }
  if (state == ncclSuccess) {
    (void)ncclCommDestroy(comm_);
    comm_ = nullptr;
  } else {
    abort();
  }
}

ncclComm_t NcclCommunicator::get() const {
  if (comm_ == nullptr)
    throw NcclError("rank " + std::to_string(rank_) +
                    ": the NCCL communicator was aborted after an earlier failure");
  return comm_;
}

void NcclCommunicator::fail(const std::string& message) {
  abort();
  throw NcclError("rank " + std::to_string(rank_) + " of " + std::to_string(size_) + ": " +
                  message);
}

void NcclCommunicator::check(ncclResult_t code, const char* call) {
  try {
    check_nccl(code, call, comm_);
  } catch (const NcclError& error) {
    fail(error.what());
  }
}

void NcclCommunicator::wait_enqueued(const char* call) {
  const Clock::time_point start = Clock::now();
  for (;;) {
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(get(), &state), "ncclCommGetAsyncError");
    check(state, call);
    if (state == ncclSuccess) return;
    if (past(start))
      fail(std::string(call) + " did not come to an end within " + seconds_text(limit_) +
           ": a rank is missing or its network is");
    pause(start);
  }
}

void NcclCommunicator::poll(const char* call) {
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(get(), &state), "ncclCommGetAsyncError");
  check(state, call);
}

void NcclCommunicator::wait(const Event& event, const char* call) {
  const Clock::time_point start = Clock::now();
  while (!event.reached()) {
    poll(call);
    if (past(start))
      fail(std::string(call) + " did not come to an end within " + seconds_text(limit_) +
           ": a rank hangs or died");
    pause(start);
  }
  poll(call);
}

void NcclCommunicator::abort() noexcept {
  if (comm_ == nullptr) return;
  (void)ncclCommAbort(comm_);
  comm_ = nullptr;
}

}  // namespace th::cuda
