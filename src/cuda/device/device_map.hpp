#pragma once

#include <span>
#include <string>
#include <vector>

namespace th::cuda {

/// What one rank sees: its node and the devices there, each by a name that is the same for every
/// rank that sees it (the UUID).
struct VisibleDevices {
  std::string host;
  std::vector<std::string> devices;
};

/// The device number of each rank, in that rank's own numbering. On each node the i-th rank takes
/// the i-th device that it sees; a rank that sees one device alone (a launcher's binding) takes
/// that. Throws DeviceError, naming both numbers, when a node has more ranks than distinct devices,
/// and, naming the ranks, when two of them would get one device; with `sharing` ranks take turns
/// instead.
[[nodiscard]] std::vector<int> assign_devices(std::span<const VisibleDevices> ranks, bool sharing);

/// VisibleDevices as text that a broadcast can carry, and back.
[[nodiscard]] std::string encode(const VisibleDevices& visible);
[[nodiscard]] VisibleDevices decode(const std::string& text);

}  // namespace th::cuda
