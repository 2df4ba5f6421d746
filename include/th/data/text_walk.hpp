#pragma once

#include <functional>
#include <string_view>

namespace th::data {

/// Gets one line after the other; a line is valid during the call.
using LineVisitor = std::function<void(std::string_view line)>;
/// Shows all lines of a text to a visitor, in their order, from the beginning at each call. The
/// text may be larger than memory.
using TextWalk = std::function<void(const LineVisitor& visit)>;

}  // namespace th::data
