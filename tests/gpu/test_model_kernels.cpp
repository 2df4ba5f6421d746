#include "cuda_handles.hpp"
#include "kernels.hpp"
#include "model_kernel_exam.hpp"

// The model's kernels on a GPU against those of the CPU.
namespace th::cuda {
namespace {

struct GpuMemory {
  template <typename T>
  class Array {
   public:
    explicit Array(const std::vector<T>& values) : memory_(static_cast<std::int64_t>(values.size() * sizeof(T))), count_(values.size()) {
      check_cuda(cudaMemcpy(memory_.get(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    [[nodiscard]] T* get() const { return static_cast<T*>(memory_.get()); }
    [[nodiscard]] std::vector<T> values() const {
      std::vector<T> out(count_);
      check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      check_cuda(cudaMemcpy(out.data(), memory_.get(), count_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
      return out;
    }

   private:
    DeviceBuffer memory_;
    std::size_t count_;
  };
};

TEST(ModelKernels, HaveTheBitsOfTheCpuInFp32) { reference::examine_model_kernels<float, GpuMemory>(model_kernels_fp32()); }
TEST(ModelKernels, HaveTheBitsOfTheCpuInBf16) { reference::examine_model_kernels<Bf16, GpuMemory>(model_kernels_bf16()); }
TEST(ModelKernels, HaveTheBitsOfTheCpuInFp16) { reference::examine_model_kernels<Fp16, GpuMemory>(model_kernels_fp16()); }

}  // namespace
}  // namespace th::cuda
