#pragma once

#include <string>
#include <utility>

// Errors as texts, for other ranks.
namespace th {

/// "CODE TEXT".
[[nodiscard]] std::string packed_error(int code, const std::string& text);
/// The inverse. Throws InternalError for what is none.
[[nodiscard]] std::pair<int, std::string> unpacked_error(const std::string& packed);
/// packed_error() of the exception that is being handled: an Error's own code and text; of
/// std::bad_alloc kMemory and "out of memory" with `where` behind it ("" or " on rank 3") and
/// `way_out`; of others kDiffers and "internal error: …".
[[nodiscard]] std::string packed_current_error(const std::string& where,
                                               const std::string& way_out);

}  // namespace th
