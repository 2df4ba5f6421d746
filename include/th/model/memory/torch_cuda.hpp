#pragma once

#include <string>

#include <c10/core/Device.h>

namespace th::model {

/// Loads LibTorch's CUDA half, libtorch_cuda.so beside the libtorch_cpu.so that runs, whose memory
/// tensors on a GPU are, with deterministic algorithms. Programs link the CPU's half alone, so this
/// comes before the first tensor on a GPU; `number` is this process' device from now on. Not
/// collective. Throws DeviceError, saying which LibTorch is needed, where it is not there, cannot
/// be loaded or finds no GPU.
[[nodiscard]] c10::Device load_torch_cuda(int number);

/// The folder of the LibTorch that runs.
[[nodiscard]] std::string torch_folder();

}  // namespace th::model
