#pragma once

#include <string_view>

namespace th::app {

/// The bytes of the value of an object's member, as they stand there: numbers keep all their
/// digits. Of several members of that name the last one, as JSON parsers take it; empty for none.
/// `object` is one JSON object that a parser took.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view name);

}  // namespace th::app
