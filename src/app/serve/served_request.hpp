#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Requests and answers of the server: one JSON object a line.
namespace th::app {

/// Bytes of the longest request, its line end not counted.
inline constexpr std::size_t kLongestRequest = std::size_t{1} << 20;

/// {"id": …, "text": "…"} with "number", where sampling draws by it.
struct ServedRequest {
  std::uint64_t client = 0;  ///< of the connection
  std::string id;            ///< as JSON; null where none was given
  std::string text;
  std::uint64_t number = 0;
};

/// A line that a client sent: a request, or why it is none.
struct ParsedLine {
  ServedRequest request;
  std::string fault;  ///< empty: the request can be translated
};
[[nodiscard]] ParsedLine parse_request_line(std::string_view line);

/// {"id":…,"text":…,"score":…} with "warning" where there is one, and a line end.
[[nodiscard]] std::string answer_line(const ServedRequest& request, const std::string& text,
                                      double score, const std::string& warning);
/// {"id":…,"error":…} and a line end. `id` as JSON.
[[nodiscard]] std::string error_line(const std::string& id, const std::string& error);

}  // namespace th::app
