#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "cuda/device/device.hpp"
#include "th/base/error.hpp"

namespace th::cuda {

/// Why `ranks` ranks cannot run their tests on this machine's GPUs; empty when they can.
inline std::string reason_to_skip(int ranks) {
  try {
    const auto count = static_cast<int>(devices().size());
    return count >= ranks ? ""
                          : std::to_string(ranks) + " ranks, but " + std::to_string(count) +
                                " GPUs on this machine";
  } catch (const Error& error) {
    return error.what();
  }
}

/// Says why a program's tests are skipped; ctest takes the result (SKIP_RETURN_CODE) as skipped.
inline int skip(const std::string& reason) {
  std::printf("skipped: %s\n", reason.c_str());
  return 77;
}

}  // namespace th::cuda
