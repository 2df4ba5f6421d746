#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace th::runtime {

/// The largest resident size this process has had, in bytes.
[[nodiscard]] std::int64_t peak_rss_bytes();
/// The resident size of this process now, in bytes (VmRSS); 0 if /proc does not say.
[[nodiscard]] std::int64_t rss_bytes();
/// Its anonymous part: heap and stacks without mapped files, in bytes (RssAnon); 0 if /proc does
/// not say.
[[nodiscard]] std::int64_t rss_anon_bytes();
/// Its shared memory, in bytes (RssShmem); 0 if /proc does not say.
[[nodiscard]] std::int64_t rss_shared_bytes();
/// The name of this node, "unknown" if the system does not say.
[[nodiscard]] std::string hostname();
/// How many CPUs this process may run on (its affinity mask); 0 if the system does not say.
[[nodiscard]] int cpus_in_mask();
/// The same mask as a list of ranges, as in "0-3,8"; empty if the system does not say.
[[nodiscard]] std::string cpu_mask_text();
/// Free memory on this node, in bytes: the smaller of MemAvailable and what the control groups (v1
/// and v2) above this process leave; 0 if neither is known. All processes of the node share it.
[[nodiscard]] std::int64_t available_memory_bytes();
/// What shared-memory windows of this node may still take, in bytes: the free space of /dev/shm;
/// nothing if there is no /dev/shm.
[[nodiscard]] std::optional<std::int64_t> shared_memory_room();
/// Whether `windows` windows of `bytes` in all fit into `room`; an unknown room is no limit.
[[nodiscard]] constexpr bool windows_fit(std::int64_t bytes, int windows,
                                         std::optional<std::int64_t> room) {
  constexpr double kSlack = 1.02, kPages = 1 << 20;  // of a window
  return !room ||
         static_cast<double>(*room) > kSlack * static_cast<double>(bytes) + kPages * windows;
}
/// Address space that this process may still take below its own limit (ulimit -v), in bytes;
/// nothing if it has no limit.
[[nodiscard]] std::optional<std::int64_t> address_space_left();

}  // namespace th::runtime
