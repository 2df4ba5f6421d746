#pragma once

#include <string>

#include <c10/core/Device.h>

namespace th::model {

/// Loads LibTorch's CUDA half, libtorch_cuda.so beside the running libtorch_cpu.so, which allocates
/// tensors on a GPU, with deterministic algorithms. Programs link only the CPU's half, so call this
/// before the first tensor on a GPU; `number` is this process' device from now on. Not collective.
/// If the library is missing, cannot be loaded or finds no GPU, throws DeviceError that says which
/// LibTorch is needed.
[[nodiscard]] c10::Device load_torch_cuda(int number);

/// The folder of the LibTorch that runs.
[[nodiscard]] std::string torch_folder();

}  // namespace th::model
