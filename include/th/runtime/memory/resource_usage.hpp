#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace th::runtime {

/// The largest resident size this process has had, in bytes.
[[nodiscard]] std::int64_t peak_rss_bytes();
/// The resident size of this process now, in bytes (VmRSS); 0 where /proc does not tell.
[[nodiscard]] std::int64_t rss_bytes();
/// Its anonymous part: heap and stacks without mapped files, in bytes (RssAnon); 0 where /proc does
/// not tell.
[[nodiscard]] std::int64_t rss_anon_bytes();
/// What of it is shared memory, in bytes (RssShmem); 0 where /proc does not tell.
[[nodiscard]] std::int64_t rss_shared_bytes();
/// The name of this node, "unknown" where the system does not tell.
[[nodiscard]] std::string hostname();
/// How many CPUs this process may run on (its affinity mask); 0 where the system does not tell.
[[nodiscard]] int cpus_in_mask();
/// The same mask as a list of ranges, as in "0-3,8"; empty where the system does not tell.
[[nodiscard]] std::string cpu_mask_text();
/// Memory that can still be had on this node, in bytes: the smaller of MemAvailable and what the
/// control groups (v1 and v2) above this process leave; 0 where neither is known. All processes of
/// the node share it.
[[nodiscard]] std::int64_t available_memory_bytes();
/// What shared-memory windows of this node may still take, in bytes: the free space of /dev/shm;
/// nothing where there is none to ask.
[[nodiscard]] std::optional<std::int64_t> shared_memory_room();
/// Whether `windows` windows of `bytes` in all have room in that; what is not known is no limit.
[[nodiscard]] constexpr bool windows_fit(std::int64_t bytes, int windows,
                                         std::optional<std::int64_t> room) {
  constexpr double kSlack = 1.02, kPages = 1 << 20;  // of a window
  return !room ||
         static_cast<double>(*room) > kSlack * static_cast<double>(bytes) + kPages * windows;
}
/// Address space that this process may still take below its own limit (ulimit -v), in bytes;
/// nothing where it has none.
[[nodiscard]] std::optional<std::int64_t> address_space_left();

}  // namespace th::runtime
