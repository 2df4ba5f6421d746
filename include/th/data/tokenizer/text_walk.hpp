#pragma once

#include <functional>
#include <string_view>

namespace th::data {

/// Takes one line of a text.
using LineVisitor = std::function<void(std::string_view)>;
/// Calls the visitor with each line of a text, in order. It may be called more than once.
using TextWalk = std::function<void(const LineVisitor&)>;

}  // namespace th::data
