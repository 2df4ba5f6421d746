#include "th/runtime/memory/resource_usage.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

namespace th::runtime {
namespace {

// Value of "Key:   123 kB" in a /proc file, in bytes.
std::optional<std::int64_t> kilobyte_field(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, key.size(), key) != 0 || line.size() <= key.size() ||
        line[key.size()] != ':')
      continue;
    try {
      return std::stoll(line.substr(key.size() + 1)) * 1024;
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

// A file that holds one number; "max" and unreadable ones are empty.
std::optional<std::int64_t> number_in(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::int64_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

// Page cache that the kernel gives back under pressure counts as free.
std::int64_t reclaimable(const std::filesystem::path& stat, const std::string& wanted) {
  std::ifstream in(stat);
  std::string key;
  for (std::int64_t value = 0; in >> key >> value;) {
    if (key == wanted) return value;
  }
  return 0;
}

// What the group at `folder` leaves. The limit of v1 without a limit is a huge number: harmless in
// the minimum.
std::optional<std::int64_t> group_leaves(const std::filesystem::path& folder, bool v2) {
  const auto limit = number_in(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"));
  const auto used = number_in(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"));
  if (!limit || !used) return std::nullopt;
  const std::int64_t cache =
      reclaimable(folder / "memory.stat", v2 ? "inactive_file" : "total_inactive_file");
  return std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, *used - cache));
}

std::optional<std::int64_t> all_groups_leave() {
  std::optional<std::int64_t> least;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // hierarchy:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers(1, ',');
    controllers.append(line, first + 1, second - first - 1).append(1, ',');
    const bool v2 = controllers == ",,";
    if (!v2 && controllers.find(",memory,") == std::string::npos) continue;
    const std::filesystem::path root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::filesystem::path inside = std::filesystem::path(line.substr(second + 1)).relative_path();
    for (;;) {  // the group itself and every one above it
      if (const auto leaves = group_leaves(inside.empty() ? root : root / inside, v2))
        least = std::min(least.value_or(*leaves), *leaves);
      if (inside.empty()) break;
      inside = inside.parent_path();
    }
  }
  return least;
}

std::vector<bool> affinity_mask() {
  for (int cpus = 1024; cpus <= 1 << 18; cpus *= 4) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(
        CPU_ALLOC(static_cast<std::size_t>(cpus)), [](cpu_set_t* s) { CPU_FREE(s); });
    const std::size_t size = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
    if (!set) return {};
    CPU_ZERO_S(size, set.get());
    if (sched_getaffinity(0, size, set.get()) != 0) continue;  // more CPUs than the set holds
    std::vector<bool> mask(static_cast<std::size_t>(cpus));
    for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = CPU_ISSET_S(i, size, set.get()) != 0;
    return mask;
  }
  return {};
}

}  // namespace

std::int64_t peak_rss_bytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

std::int64_t rss_bytes() { return kilobyte_field("/proc/self/status", "VmRSS").value_or(0); }

std::int64_t rss_anon_bytes() { return kilobyte_field("/proc/self/status", "RssAnon").value_or(0); }
std::int64_t rss_shared_bytes() {
  return kilobyte_field("/proc/self/status", "RssShmem").value_or(0);
}

std::string hostname() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "unknown";
  return name.data();
}

int cpus_in_mask() {
  const std::vector<bool> mask = affinity_mask();
  return static_cast<int>(std::count(mask.begin(), mask.end(), true));
}

std::string cpu_mask_text() {
  const std::vector<bool> mask = affinity_mask();
  std::string text;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (!mask[i]) continue;
    std::size_t last = i;
    while (last + 1 < mask.size() && mask[last + 1]) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(i);
    if (last > i) text.append(1, '-').append(std::to_string(last));
    i = last;
  }
  return text;
}

std::int64_t available_memory_bytes() {
  if (const char* pretended = std::getenv("TH_FAKE_AVAILABLE_MEMORY"); pretended != nullptr)
    return std::atoll(pretended);  // for tests
  const auto node = kilobyte_field("/proc/meminfo", "MemAvailable");
  const auto groups = all_groups_leave();
  if (!node && !groups) return 0;
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  return std::min(node.value_or(kNone), groups.value_or(kNone));
}

std::optional<std::int64_t> shared_memory_room() {
  if (const char* pretended = std::getenv("TH_FAKE_SHARED_ROOM"); pretended != nullptr)
    return std::atoll(pretended);  // for tests
  struct statvfs space {};
  if (statvfs("/dev/shm", &space) != 0) return std::nullopt;
  return static_cast<std::int64_t>(static_cast<double>(space.f_bavail) *
                                   static_cast<double>(space.f_frsize));
}

std::optional<std::int64_t> address_space_left() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const std::int64_t taken = kilobyte_field("/proc/self/status", "VmSize").value_or(0);
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(limit.rlim_cur) - taken);
}

}  // namespace th::runtime
