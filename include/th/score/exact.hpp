#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace th::score {

/// The number of lines that equal their reference, white space at both ends apart. Throws
/// InternalError for unequal counts.
[[nodiscard]] std::int64_t exact_lines(std::span<const std::string> hypotheses,
                                       std::span<const std::string> references);

/// "nrefs:1|case:mixed|trim:yes|version:th_app-0.1.0".
[[nodiscard]] std::string exact_signature();

}  // namespace th::score
