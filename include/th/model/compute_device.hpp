#pragma once

#include <c10/core/Device.h>

#include "th/model/kernel_set.hpp"
#include "th/runtime/device.hpp"

namespace th::model {

/// Where a model computes; as it is made, the host.
struct ComputeDevice {
  c10::Device tensors{c10::kCPU};            ///< of parameters, activations and gradients
  const KernelSet* kernels = &host_kernels();  ///< for memory of that device; outlives the model
  /// Whether that memory is out of the host's reach: what kernels read of a batch is copied there.
  enum class Memory { kHost, kOwn } memory = Memory::kHost;
  bool fused_attention = false;  ///< the kernels have attention of short sentences in 16-bit types (runtime::fuses_attention)
  runtime::Device* copies = nullptr;  ///< who copies it; outlives the model. Null where nothing is computed
};

}  // namespace th::model
