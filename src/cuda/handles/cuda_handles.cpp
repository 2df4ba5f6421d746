#include "cuda/handles/cuda_handles.hpp"

namespace th::cuda {

namespace {

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // the next call must not report this error again
  throw DeviceError(std::string(call) + " failed: " + cudaGetErrorString(code) + " (" +
                    cudaGetErrorName(code) + ")");
}

void check_nccl(ncclResult_t code, const char* call, ncclComm_t comm) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  const char* last = ncclGetLastError(comm);
  std::string message = std::string(call) + " failed: " + ncclGetErrorString(code);
  if (last != nullptr && *last != '\0') message += "; NCCL says: " + std::string(last);
  throw NcclError(message + " (NCCL_DEBUG=INFO tells more)");
}

Stream::Stream(StreamPriority priority) {
  int least = 0, greatest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
             "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                          priority == StreamPriority::kHigh ? greatest : least),
             "cudaStreamCreateWithPriority");
  handle_.reset(stream);
}

void Stream::synchronize() const {
  check_cuda(cudaStreamSynchronize(get()), "cudaStreamSynchronize");
}

Event::Event(EventKind kind) {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(
                 &event, kind == EventKind::kTimed ? cudaEventDefault : cudaEventDisableTiming),
             "cudaEventCreateWithFlags");
  handle_.reset(event);
}

void Event::record(cudaStream_t stream) const {
  check_cuda(cudaEventRecord(handle_.get(), stream), "cudaEventRecord");
}

void Event::make_wait(cudaStream_t stream) const {
  check_cuda(cudaStreamWaitEvent(stream, handle_.get(), 0), "cudaStreamWaitEvent");
}

bool Event::reached() const {
  const cudaError_t code = cudaEventQuery(handle_.get());
  if (code == cudaErrorNotReady) {
    (void)cudaGetLastError();
    return false;
  }
  check_cuda(code, "cudaEventQuery");
  return true;
}

void Event::synchronize() const {
  check_cuda(cudaEventSynchronize(handle_.get()), "cudaEventSynchronize");
}

double Event::seconds(const Event& from, const Event& to) {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, from.handle_.get(), to.handle_.get()),
             "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1e-3;
}

std::int64_t free_memory() {
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) == cudaSuccess) return static_cast<std::int64_t>(free);
  (void)cudaGetLastError();
  return 0;
}

DeviceBuffer::DeviceBuffer(std::int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* memory = nullptr;
  const cudaError_t code = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    std::size_t free = 0, total = 0;
    (void)cudaMemGetInfo(&free, &total);
    throw MemoryError("the GPU has no room for a buffer of " +
                      bytes_text(static_cast<std::size_t>(bytes)) + ": " + bytes_text(free) +
                      " of " + bytes_text(total) +
                      " are free; use a higher zero.stage, a smaller data.batch_size or "
                      "model.gradient_checkpointing");
  }
  check_cuda(code, "cudaMalloc");
  memory_.reset(memory);
}

PinnedBuffer::PinnedBuffer(std::int64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* memory = nullptr;
  const cudaError_t code =
      cudaHostAlloc(&memory, static_cast<std::size_t>(bytes), cudaHostAllocDefault);
  if (code == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw MemoryError("no pinned host memory for a buffer of " +
                      bytes_text(static_cast<std::size_t>(bytes)) +
                      "; less zero.offload_*, or more memory in the job (and ulimit -l)");
  }
  check_cuda(code, "cudaHostAlloc");
  memory_.reset(memory);
}

}  // namespace th::cuda
