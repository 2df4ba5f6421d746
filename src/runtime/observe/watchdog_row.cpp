#include "runtime/observe/watchdog_row.hpp"

#include <sys/stat.h>

#include <fstream>

#include "th/runtime/observe/flight_record.hpp"

namespace th::runtime::watchdog {

std::string process_state(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kState = "State:\t";
    if (!line.starts_with(kState)) continue;
    line.erase(0, kState.size());
    return line.starts_with('Z') || line.starts_with('X') ? std::string() : line;
  }
  return {};
}

std::int64_t pid_space() {
  struct stat seen {};
  return stat("/proc/self/ns/pid", &seen) == 0 ? static_cast<std::int64_t>(seen.st_ino) : 0;
}

std::string line_of(const Row& row, std::span<const std::string> unit_names, std::int64_t now) {
  const std::int64_t pid = row.pid.load();
  std::string line = "rank " + std::to_string(row.rank.load()) + " host " + row.host.get() +
                     " pid " + std::to_string(pid) + " phase " + row.phase.get() + " step " +
                     std::to_string(row.step.load());
  if (const std::string doing = FlightRecord::text_of(row.activity, unit_names, now);
      !doing.empty())
    line += ", " + doing;
  if (row.pid_space.load() != pid_space()) return line + "\n";
  const std::string state = process_state(static_cast<pid_t>(pid));
  return line + (state.empty() ? " (the process is gone)\n" : ", state " + state + "\n");
}

}  // namespace th::runtime::watchdog
