#include "cuda_device.hpp"

#include "kernels.hpp"

#include <optional>

namespace th::cuda {

namespace {

/// A stream of its own, or another's.
class CudaQueue final : public runtime::DeviceQueue {
 public:
  CudaQueue() : own_(std::in_place), stream_(own_->get()) {}
  explicit CudaQueue(cudaStream_t stream) : stream_(stream) {}
  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }

  void copy(void* to, const void* from, std::int64_t bytes) override {
    check_cuda(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream_), "cudaMemcpyAsync");
  }
  void clear(void* memory, std::int64_t bytes) override {
    check_cuda(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), stream_), "cudaMemsetAsync");
  }
  void wait(runtime::DeviceEvent& event) override;
  void synchronize() override { check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  std::optional<Stream> own_;
  cudaStream_t stream_;
};

class CudaEvent final : public runtime::DeviceEvent {
 public:
  void record(runtime::DeviceQueue& queue) override { event_.record(static_cast<CudaQueue&>(queue).stream()); }
  void wait() override { event_.synchronize(); }
  [[nodiscard]] const Event& event() const noexcept { return event_; }

 private:
  Event event_;
};

void CudaQueue::wait(runtime::DeviceEvent& event) { static_cast<CudaEvent&>(event).event().make_wait(stream_); }

}  // namespace

CudaDevice::CudaDevice(cudaStream_t compute) : stream_(compute), compute_(std::make_unique<CudaQueue>(compute)) {
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

std::unique_ptr<runtime::DeviceQueue> CudaDevice::make_queue() { return std::make_unique<CudaQueue>(); }
std::unique_ptr<runtime::DeviceEvent> CudaDevice::make_event() { return std::make_unique<CudaEvent>(); }

void CudaDevice::update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands) {
  cuda::update(factors, operands, stream_);
}
void CudaDevice::block_square_sums(const void* x, runtime::ElementType type, std::int64_t blocks, double* out) {
  cuda::block_square_sums(x, type, blocks, out, stream_);
}
void CudaDevice::tree_sum(const runtime::TreeSum& sum) { cuda::tree_sum(sum, stream_); }
void CudaDevice::accumulate(float* y, const float* x, std::int64_t count) { cuda::accumulate(y, x, count, stream_); }
void CudaDevice::round(const float* from, runtime::ElementType type, void* to, std::int64_t count) {
  cuda::round(from, type, to, count, stream_);
}

}  // namespace th::cuda
