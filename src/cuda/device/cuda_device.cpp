#include "cuda/device/cuda_device.hpp"

#include "cuda/kernels/kernels.hpp"

namespace th::cuda {

namespace {

cudaStream_t handle(runtime::Stream& stream) { return dynamic_cast<CudaStream&>(stream).get(); }

}  // namespace

CudaDevice::CudaDevice(cudaStream_t compute) : compute_(context_, compute) {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
}

CudaDevice::~CudaDevice() = default;

void* CudaDevice::take(runtime::Place place, std::int64_t bytes) {
  if (place == runtime::Place::kHost) {
    PinnedBuffer block(bytes);
    void* memory = block.get();
    pinned_blocks_.emplace(memory, std::move(block));
    return memory;
  }
  DeviceBuffer block(bytes);
  void* memory = block.get();
  device_blocks_.emplace(memory, std::move(block));
  return memory;
}

void CudaDevice::give(runtime::Place place, void* memory) noexcept {
  if (place == runtime::Place::kHost) {
    pinned_blocks_.erase(memory);
  } else {
    device_blocks_.erase(memory);
  }
}

std::unique_ptr<runtime::Stream> CudaDevice::make_stream(runtime::StreamUse use) {
  return std::make_unique<CudaStream>(context_, use == runtime::StreamUse::kCommunication
                                                    ? StreamPriority::kHigh
                                                    : StreamPriority::kNormal);
}

void CudaDevice::update(runtime::Stream& stream, const runtime::UpdateFactors& factors,
                        const runtime::UpdateOperands& operands) {
  cuda::update(factors, operands, handle(stream));
}
void CudaDevice::block_square_sums(runtime::Stream& stream, const void* x, ElementType type,
                                   std::int64_t blocks, double* out) {
  cuda::block_square_sums(x, type, blocks, out, handle(stream));
}
void CudaDevice::end_step(runtime::Stream& stream, const runtime::StepRecords& records) {
  cuda::end_step(records, handle(stream));
}
void CudaDevice::tree_sum(runtime::Stream& stream, const runtime::TreeSum& sum) {
  cuda::tree_sum(sum, handle(stream));
}
void CudaDevice::accumulate(runtime::Stream& stream, float* y, const float* x, std::int64_t count) {
  cuda::accumulate(y, x, count, handle(stream));
}
void CudaDevice::round(runtime::Stream& stream, const float* from, ElementType type, void* to,
                       std::int64_t count) {
  cuda::round(from, type, to, count, handle(stream));
}

}  // namespace th::cuda
