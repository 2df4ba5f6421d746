#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Requests and answers of the server: one JSON object a line.
namespace th::app {

/// Bytes of the longest request, its line end not counted.
inline constexpr std::size_t kLongestRequest = std::size_t{1} << 20;

/// What a request asks for beside its text; 0: what the server was started with. Requests that ask
/// for the same are decoded together.
struct RequestedSearch {
  std::int64_t beam = 0, max_length = 0, min_length = 0;
  std::int64_t n_best = 0;  ///< 0: no list
  friend auto operator<=>(const RequestedSearch&, const RequestedSearch&) = default;
};

/// {"id": …, "text": "…"}, and what may stand beside it.
struct ServedRequest {
  std::uint64_t client = 0;  ///< of the connection
  std::string id;            ///< JSON, as it was sent; null where none was given
  std::string text;
  std::string prefix;  ///< the words that the translation begins with
  std::uint64_t number = 0;
  RequestedSearch search;
};

/// A translation of a request.
struct ServedText {
  std::string text;
  double score = 0;
};

/// A line that a client sent: a request, or why it is none.
struct ParsedLine {
  ServedRequest request;
  std::string fault;  ///< empty: the request can be translated
};
[[nodiscard]] ParsedLine parse_request_line(std::string_view line);

/// {"id":…,"text":…,"score":…} with the first of `texts` (one at least), "best" of all of them
/// where the request asks for n_best, "warning" where there is one, and a line end.
[[nodiscard]] std::string answer_line(const ServedRequest& request,
                                      const std::vector<ServedText>& texts,
                                      const std::string& warning);
/// {"id":…,"error":…} and a line end. `id` as JSON.
[[nodiscard]] std::string error_line(const std::string& id, const std::string& error);

}  // namespace th::app
