#include "host_kernel_table.hpp"
#include "th/model/kernel_set.hpp"

namespace th::model {

const KernelSet& host_kernels() {
  static constexpr runtime::ModelKernels<float> kFp32 = host_kernel_table<float>();
  static constexpr runtime::ModelKernels<Bf16> kBf16 = host_kernel_table<Bf16>();
  static constexpr runtime::ModelKernels<Fp16> kFp16 = host_kernel_table<Fp16>();
  static constexpr KernelSet kSet{&kFp32, &kBf16, &kFp16, nullptr};
  return kSet;
}

}  // namespace th::model
