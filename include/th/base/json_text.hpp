#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace th {

// The library's own parser and writer are templates that take seconds to compile in each file.

/// Arrays and objects inside of each other. The library parses any depth, and copies and writes a
/// value by recursion: a line of brackets would take the whole stack.
inline constexpr int kDeepestJson = 100;

/// Throws nlohmann::json::parse_error, also for what is deeper than kDeepestJson.
[[nodiscard]] nlohmann::json parse_json(const std::string& text);

/// The same; `twice` is told a name that stands twice in one object, which the library lets pass.
[[nodiscard]] nlohmann::json parse_json(const std::string& text,
                                        const std::function<void(const std::string& name)>& twice);

/// A number that was written as an integer; the library would cut a fraction off, and take any bits
/// for what is out of range. Throws nlohmann::json::type_error for all else, as for 1.0 and true.
[[nodiscard]] std::int64_t json_integer(const nlohmann::json& value);
/// The same of one that is not negative.
[[nodiscard]] std::uint64_t json_unsigned(const nlohmann::json& value);
/// The same of an array of them.
[[nodiscard]] std::vector<std::int64_t> json_integers(const nlohmann::json& value);

/// On one line. Numbers read back to the same bits and are mostly the shortest; what is not finite
/// is null. Throws nlohmann::json::type_error where a string is no UTF-8.
[[nodiscard]] std::string json_text(const nlohmann::json& value);
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& value);

/// A string with its quotes; what is no UTF-8 is replaced.
[[nodiscard]] std::string json_quoted(const std::string& text);

}  // namespace th
