#pragma once

namespace th::runtime {

/// The memory of the device that computes: the host's (a CPU), or its own (a GPU), which the host
/// reaches by copies alone.
enum class DeviceMemory { kHost, kOwn };

}  // namespace th::runtime
