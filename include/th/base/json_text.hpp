#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace th {

// The library's own parser and writer are templates that take seconds to compile in each file.

/// Throws nlohmann::json::parse_error.
[[nodiscard]] nlohmann::json parse_json(const std::string& text);

/// The same; `twice` is told a name that stands twice in one object, which the library lets pass.
[[nodiscard]] nlohmann::json parse_json(const std::string& text,
                                        const std::function<void(const std::string& name)>& twice);

/// On one line. Numbers read back to the same bits and are mostly the shortest; what is not finite
/// is null. Throws nlohmann::json::type_error where a string is no UTF-8.
[[nodiscard]] std::string json_text(const nlohmann::json& value);
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& value);

/// A string with its quotes; what is no UTF-8 is replaced.
[[nodiscard]] std::string json_quoted(const std::string& text);

}  // namespace th
