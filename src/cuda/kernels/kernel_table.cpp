#include "cuda/kernels/kernels.hpp"

#include "cuda/handles/cuda_handles.hpp"

#include "th/base/error.hpp"

namespace th::cuda {

const runtime::CudaKernels& kernel_table() {
  const ProductFunctions products = product_functions();
  static const runtime::CudaKernels kTable{update,
                                           tree_sum,
                                           block_square_sums,
                                           &model_kernels_fp32(),
                                           &model_kernels_bf16(),
                                           &model_kernels_fp16(),
                                           products.multiply,
                                           products.library,
                                           free_memory};
  return kTable;
}

void accumulate(float* y, const float* x, std::int64_t count, void* stream) {
  model_kernels_fp32().run(op::AddTo<float>{.y = y, .x = x, .count = count}, stream);
}

void round(const float* from, ElementType type, void* to, std::int64_t count, void* stream) {
  ensure(type != ElementType::kFp32, "round: not to a 16-bit type");
  if (type == ElementType::kBf16) {
    const op::Narrow<Bf16> o{.x = from, .y = static_cast<Bf16*>(to), .count = count};
    return model_kernels_bf16().run(o, stream);
  }
  const op::Narrow<Fp16> o{.x = from, .y = static_cast<Fp16*>(to), .count = count};
  model_kernels_fp16().run(o, stream);
}

}  // namespace th::cuda
