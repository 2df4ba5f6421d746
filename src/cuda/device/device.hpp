#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/runtime/transport/control_calls.hpp"

namespace th::cuda {

struct DeviceInfo {
  std::string name;  ///< "NVIDIA H200"
  std::string pci;   ///< "0000:19:00.0"
  std::string uuid;  ///< of the device or MIG instance
  int major = 0, minor = 0, multiprocessors = 0;
  std::int64_t bytes = 0;
};

/// The devices that this process sees, in CUDA's numbering. Throws DeviceError, saying whether the
/// driver or the GPU is missing.
[[nodiscard]] std::vector<DeviceInfo> devices();
/// "cuda:0 NVIDIA H200, compute capability 9.0, 132 multiprocessors, 139.8 GiB, PCI 0000:19:00.0".
[[nodiscard]] std::string device_line(int number, const DeviceInfo& info);

struct DeviceSelection {
  int device = 0;
  std::string map;  ///< a line a rank, in rank order
};
/// Collective over `control`: each rank's device by assign_devices(), made the current one. Throws
/// the same DeviceError on every rank.
[[nodiscard]] DeviceSelection select_device(runtime::ControlCalls& control, const std::string& host,
                                            bool sharing);

}  // namespace th::cuda
