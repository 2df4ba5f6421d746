#include "model/ops/host_attention.hpp"
#include "model/ops/host_kernel_table.hpp"
#include "th/model/ops/kernel_set.hpp"

#include <ATen/Parallel.h>

namespace th::model {

namespace {

/// work(HeadRange) for all sentences and heads, on LibTorch's threads.
template <typename T, typename Work>
void on_threads(const runtime::AttentionOperands<T>& o, const Work& work) {
  const std::int64_t room = runtime::host_attention_scratch(o.keys, o.width);
  at::parallel_for(0, o.batch * o.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    work(HeadRange{begin, end, o.scratch + at::get_thread_num() * room});
  });
}

template <typename T>
void attention(const runtime::AttentionOperands<T>& operands, T* out, void*) {
  on_threads(operands, [&](HeadRange heads) { host_attention(operands, out, heads); });
}

template <typename T>
void attention_backward(const runtime::AttentionOperands<T>& operands, const T* g, T* g_q, T* g_k,
                        T* g_v, void*) {
  on_threads(operands,
             [&](HeadRange heads) { host_attention_backward(operands, g, g_q, g_k, g_v, heads); });
}

template <typename T>
runtime::ModelKernels<T> table_with_attention() {
  runtime::ModelKernels<T> table = host_kernel_table<T>();
  if (!host_fuses_attention()) return table;
  table.attention = attention<T>;
  table.attention_backward = attention_backward<T>;
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
