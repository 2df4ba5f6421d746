#include "kernels.hpp"

#include "elementwise.hpp"
#include "launch.hpp"

namespace th::cuda {

namespace {

__global__ void adam_kernel(const runtime::AdamFactors f, float* __restrict__ p, const float* __restrict__ g, float* __restrict__ m,
                            float* __restrict__ v, std::int64_t count) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    float parameter = p[i], first = m[i], second = v[i];
    adam_element(f, parameter, g[i], first, second);
    p[i] = parameter;
    m[i] = first;
    v[i] = second;
  }
}

__global__ void sgd_kernel(float factor, float decay, float lr, float* __restrict__ p, const float* __restrict__ g, std::int64_t count) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    float parameter = p[i];
    sgd_element(factor, decay, lr, parameter, g[i]);
    p[i] = parameter;
  }
}

}  // namespace

void adam(const runtime::AdamFactors& factors, float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq, std::int64_t count,
          void* stream) {
  if (count == 0) return;
  adam_kernel<<<grid_for(count), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(factors, parameters, gradients, exp_avg, exp_avg_sq, count);
  check_launch("adam_kernel");
}

void sgd(float gradient_factor, float decay, float lr, float* parameters, const float* gradients, std::int64_t count, void* stream) {
  if (count == 0) return;
  sgd_kernel<<<grid_for(count), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(gradient_factor, decay, lr, parameters, gradients, count);
  check_launch("sgd_kernel");
}

void check_kernel_image() {
  cudaFuncAttributes attributes{};
  check_cuda(cudaFuncGetAttributes(&attributes, adam_kernel), "cudaFuncGetAttributes (a kernel of this build on this GPU)");
}

}  // namespace th::cuda
