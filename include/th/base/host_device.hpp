#pragma once

/// TH_HOST_DEVICE before a function: nvcc compiles it for the GPU as well, so that CPU and GPU
/// share the arithmetic to the bit.
#ifdef __CUDACC__
#define TH_HOST_DEVICE __host__ __device__
#else
#define TH_HOST_DEVICE
#endif
