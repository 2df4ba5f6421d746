#pragma once

#include <string>

#include "th/base/build_info.hpp"

namespace th::score {

/// A signature's end: whose program counted.
[[nodiscard]] inline std::string version_field() {
  return "|version:th_app-" + build_info().version;
}

}  // namespace th::score
