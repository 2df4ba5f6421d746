#pragma once

#include <c10/core/Device.h>

#include "th/config/run_config.hpp"
#include "th/model/ops/kernel_set.hpp"
#include "th/runtime/device/device.hpp"

namespace th::model {

/// The device on which a model computes; by default the host with fused attention.
struct ComputeDevice {
  c10::Device tensors{c10::kCPU};              ///< of parameters, activations and gradients
  const KernelSet* kernels = &host_kernels();  ///< for memory of that device; outlives the model
  /// The device's memory. If it is the device's own, what kernels read of a batch is copied there.
  runtime::DeviceMemory memory = runtime::DeviceMemory::kHost;
  bool fused_attention = true;  ///< run.attention is not products, and in other memory than the
                                ///< host's the kernels have it
  runtime::Device* copies = nullptr;  ///< the device that copies it, which outlives the model; null
                                      ///< if nothing is computed
};

/// The host, as the deck wants it.
[[nodiscard]] inline ComputeDevice host_compute(const config::RunSection& run) {
  ComputeDevice device;
  device.fused_attention = run.attention != config::AttentionKernels::kProducts;
  return device;
}

}  // namespace th::model
