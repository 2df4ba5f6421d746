#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace th {

// The library's own parser and writer are templates that take seconds to compile in each file.

/// The largest depth of arrays and objects inside each other. The library parses any depth, and
/// copies and writes a value by recursion, so a line of brackets would take the whole stack.
inline constexpr int kDeepestJson = 100;

/// Throws nlohmann::json::parse_error, also where the text is deeper than kDeepestJson.
[[nodiscard]] nlohmann::json parse_json(const std::string& text);

/// The same; calls `twice` with each name that one object has twice, because the library accepts
/// that.
[[nodiscard]] nlohmann::json parse_json(const std::string& text,
                                        const std::function<void(const std::string& name)>& twice);

/// A number that was written as an integer. The library would cut off a fraction, and give any bits
/// for a number out of range. Throws nlohmann::json::type_error for everything else, 1.0 and true
/// included.
[[nodiscard]] std::int64_t json_integer(const nlohmann::json& value);
/// The same for an integer that is not negative.
[[nodiscard]] std::uint64_t json_unsigned(const nlohmann::json& value);
/// The same for an array of integers.
[[nodiscard]] std::vector<std::int64_t> json_integers(const nlohmann::json& value);

/// The value as text on one line. Numbers are mostly as short as possible and read back to the same
/// bits; those that are not finite become null. Throws nlohmann::json::type_error where a string is
/// no UTF-8.
[[nodiscard]] std::string json_text(const nlohmann::json& value);
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& value);

/// A string in quotes; bytes that are no UTF-8 are replaced.
[[nodiscard]] std::string json_quoted(const std::string& text);

}  // namespace th
