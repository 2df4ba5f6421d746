#pragma once

#include <cstring>
#include <string>

#include "th/base/error.hpp"

namespace th::io {

/// Throws CheckpointError: what, the path, and the system's reason for the code `error` of errno.
[[noreturn]] inline void fail_with_reason(const std::string& what, const std::string& path,
                                          int error) {
  throw CheckpointError(what + " " + path + ": " + std::strerror(error));
}

}  // namespace th::io
