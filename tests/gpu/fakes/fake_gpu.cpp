#include "gpu/fakes/fake_gpu.hpp"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <set>
#include <vector>

struct CUevent_st {
  std::int64_t recorded = 0, reached = 0;
  double milliseconds = 0;
};

struct CUstream_st {
  struct Work {
    std::function<bool()> may_start;
    std::function<void()> run;
  };
  std::deque<Work> queue;
};

struct ncclComm {
  MPI_Comm world = MPI_COMM_NULL;
  int polls_until_ready = 0;
};

namespace th::fake {

namespace {

struct State {
  Order order = Order::kComputeFirst;
  Fault fault = Fault::kNone;
  cudaStream_t compute = nullptr;
  int devices = 1;
  std::vector<cudaStream_t> streams;
  int aborted = 0, destroyed = 0;
  double milliseconds = 0;
  std::set<const void*> registered;
  bool grouping = false;
  cudaStream_t group_stream = nullptr;
  std::vector<std::function<void(std::vector<MPI_Request>&)>> group;
};

State& state() {
  static State instance;
  return instance;
}

/// The default stream, where null is given.
cudaStream_t known(cudaStream_t stream) {
  static const cudaStream_t standard = [] {
    state().streams.push_back(new CUstream_st);
    return state().streams.back();
  }();
  return stream == nullptr ? standard : stream;
}

void drain();

/// The GPU's clock: of whole programs the host's.
double now_milliseconds() {
  if (state().order != Order::kAtOnce) return state().milliseconds;
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void enqueue_after(cudaStream_t stream, std::function<bool()> may_start,
                   std::function<void()> run) {
  known(stream)->queue.push_back({std::move(may_start), std::move(run)});
  if (state().order == Order::kAtOnce) drain();
}

void enqueue(cudaStream_t stream, std::function<void()> run) {
  enqueue_after(
      stream, [] { return true; }, std::move(run));
}

bool run_one(cudaStream_t stream) {
  if (stream->queue.empty() || !stream->queue.front().may_start()) return false;
  const std::function<void()> run = std::move(stream->queue.front().run);
  stream->queue.pop_front();
  run();
  return true;
}

/// Runs all that can run: of the streams that may go on, always the one that the order prefers.
void drain() {
  for (bool moved = true; moved;) {
    moved = false;
    std::vector<cudaStream_t> turn = state().streams;
    std::stable_sort(turn.begin(), turn.end(), [](cudaStream_t a, cudaStream_t b) {
      const bool first = state().order == Order::kComputeFirst;
      return ((a == state().compute) == first) > ((b == state().compute) == first);
    });
    for (const cudaStream_t stream : turn) {
      if ((moved = run_one(stream))) break;
    }
  }
}

}  // namespace

void reset(Order order, cudaStream_t compute) {
  drain();
  state().order = order;
  state().compute = compute;
  state().fault = Fault::kNone;
  state().aborted = state().destroyed = 0;
}
void launch(cudaStream_t stream, std::function<void()> run) { enqueue(stream, std::move(run)); }
void advance(float milliseconds) { state().milliseconds += milliseconds; }
void set_devices(int count) { state().devices = count; }
void set_fault(Fault fault) { state().fault = fault; }
int aborted() { return state().aborted; }
int destroyed() { return state().destroyed; }
int registered() { return static_cast<int>(state().registered.size()); }

}  // namespace th::fake

using namespace th::fake;

namespace {

/// The bytes of `count` elements: the transport sends bytes, its self-test floats.
int bytes_of(std::size_t count, ncclDataType_t type) {
  return static_cast<int>(count * (type == ncclFloat ? sizeof(float) : 1));
}

}  // namespace

extern "C" {

cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "fake"; }
const char* cudaGetErrorName(cudaError_t) { return "fake"; }
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0, *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = new CUstream_st;
  state().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drain();
  std::erase(state().streams, stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  drain();
  return known(stream)->queue.empty() ? cudaSuccess : cudaErrorUnknown;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  drain();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::int64_t number = ++event->recorded;
  enqueue(stream, [event, number] {
    event->reached = number;
    event->milliseconds = now_milliseconds();
  });
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::int64_t number = event->recorded;
  enqueue_after(
      stream, [event, number] { return event->reached >= number; }, [] {});
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  drain();
  return event->reached == event->recorded ? cudaSuccess : cudaErrorUnknown;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = state().devices;
  return state().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::strcpy(properties->name, "Fake GPU");
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  properties->totalGlobalMem = std::size_t{1} << 30;
  return device < state().devices ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int capacity, int device) {
  std::snprintf(text, static_cast<std::size_t>(capacity), "0000:%02x:00.0",
                static_cast<unsigned>(device));
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device < state().devices ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  drain();
  return event->reached == event->recorded ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  drain();
  *milliseconds = static_cast<float>(to->milliseconds - from->milliseconds);
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xff, bytes);  // NaN: nobody may count on zeros
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  drain();
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const char* bytes = std::getenv("TH_FAKE_GPU_BYTES");
  *free = *total = bytes == nullptr ? 0 : std::strtoull(bytes, nullptr, 10);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  return cudaMalloc(memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  enqueue(stream, [=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidValue;
  enqueue(stream, [=] {
    for (std::size_t row = 0; row < height; ++row)
      std::memcpy(static_cast<char*>(to) + row * to_pitch,
                  static_cast<const char*>(from) + row * from_pitch, width);
  });
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void* memory, std::size_t, unsigned) {
  return state().registered.insert(memory).second ? cudaSuccess
                                                  : cudaErrorHostMemoryAlreadyRegistered;
}
cudaError_t cudaHostUnregister(void* memory) {
  drain();
  return state().registered.erase(memory) == 1 ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
}

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t code) {
  return code == ncclRemoteError ? "remote process exited" : "fake error";
}
const char* ncclGetLastError(ncclComm_t) { return "last words"; }
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id->internal, 7, sizeof id->internal);
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (config->blocking != 0 || id.internal[127] != 7) return ncclInvalidArgument;
  if (state().fault == Fault::kInitFailsOnLastRank && rank == ranks - 1) return ncclSystemError;
  *comm = new ncclComm;
  (*comm)->polls_until_ready = 3;
  (*comm)->world = MPI_COMM_WORLD;
  return ncclInProgress;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  *error = ncclSuccess;
  if (state().fault == Fault::kPeerDied) *error = ncclRemoteError;
  if (state().fault == Fault::kNeverReady || comm->polls_until_ready-- > 0) *error = ncclInProgress;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t) {
  drain();
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  ++state().destroyed;
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  ++state().aborted;
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclGroupStart() {
  state().grouping = true;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  enqueue(state().group_stream, [group = std::move(state().group)] {
    std::vector<MPI_Request> requests;
    for (const auto& start : group) start(requests);
    MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  });
  state().group.clear();
  state().grouping = false;
  return ncclInProgress;
}
ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  state().group_stream = stream;
  state().group.push_back([=, world = comm->world](std::vector<MPI_Request>& requests) {
    MPI_Isend(from, bytes_of(count, type), MPI_BYTE, peer, 77, world, &requests.emplace_back());
  });
  return state().grouping ? ncclSuccess : ncclInvalidUsage;
}
ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  state().group_stream = stream;
  state().group.push_back([=, world = comm->world](std::vector<MPI_Request>& requests) {
    MPI_Irecv(to, bytes_of(count, type), MPI_BYTE, peer, 77, world, &requests.emplace_back());
  });
  return state().grouping ? ncclSuccess : ncclInvalidUsage;
}
ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  enqueue(stream, [=, world = comm->world] {
    int rank = 0;
    MPI_Comm_rank(world, &rank);
    const int bytes = bytes_of(count, type);
    std::memmove(static_cast<std::byte*>(to) + std::ptrdiff_t{bytes} * rank, from,
                 static_cast<std::size_t>(bytes));
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, to, bytes, MPI_BYTE, world);
    if (state().fault == Fault::kWrongGather && rank == 0) static_cast<float*>(to)[5] += 1;
  });
  return ncclInProgress;
}
ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t,
                           ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  enqueue(stream, [=, world = comm->world] {
    if (from != to) std::memmove(to, from, count * 4);
    MPI_Allreduce(MPI_IN_PLACE, to, static_cast<int>(count), MPI_FLOAT, MPI_SUM, world);
  });
  return ncclInProgress;
}
}
