#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace th {

/// Bytes as text (RFC 4648, section 4, padded), for formats that hold only text.
[[nodiscard]] std::string base64_text(std::string_view bytes);
/// The inverse of base64_text(); nothing if the text is no base64.
[[nodiscard]] std::optional<std::string> base64_bytes(std::string_view text);

}  // namespace th
