#include "host_attention.hpp"
#include "host_kernel_table.hpp"
#include "th/model/kernel_set.hpp"

namespace th::model {

namespace {

template <typename T>
runtime::ModelKernels<T> table_with_attention() {
  runtime::ModelKernels<T> table = host_kernel_table<T>();
  if (!host_fuses_attention()) return table;
  table.attention = host_attention<T>;
  table.attention_backward = host_attention_backward<T>;
  return table;
}

}  // namespace

const KernelSet& host_kernels() {
  static const runtime::ModelKernels<float> kFp32 = table_with_attention<float>();
  static const runtime::ModelKernels<Bf16> kBf16 = table_with_attention<Bf16>();
  static const runtime::ModelKernels<Fp16> kFp16 = table_with_attention<Fp16>();
  static const KernelSet kSet{&kFp32, &kBf16, &kFp16, nullptr};
  return kSet;
}

}  // namespace th::model
