#pragma once

#include <cstdint>
#include <string>

namespace th {

/// "1 rank", "2 ranks": a count of things, whose plural ends with an s.
[[nodiscard]] inline std::string counted(std::int64_t count, const std::string& one) {
  return std::to_string(count) + " " + one + (count == 1 ? "" : "s");
}

}  // namespace th
