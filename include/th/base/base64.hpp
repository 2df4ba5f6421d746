#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace th {

/// Bytes as text (RFC 4648, section 4, padded), for places that hold text alone.
[[nodiscard]] std::string base64_text(std::string_view bytes);
/// The inverse; empty where the text is not such text.
[[nodiscard]] std::optional<std::string> base64_bytes(std::string_view text);

}  // namespace th
