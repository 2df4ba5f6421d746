#pragma once

#include <string>
#include <utility>

// Errors as texts, which can be sent to other ranks.
namespace th {

/// "CODE TEXT".
[[nodiscard]] std::string packed_error(int code, const std::string& text);
/// The inverse of packed_error(). Throws InternalError where the text has another form.
[[nodiscard]] std::pair<int, std::string> unpacked_error(const std::string& packed);
/// packed_error() of the exception that is being handled. An Error gives its own code and text.
/// std::bad_alloc gives kMemory and "out of memory", followed by `where` ("" or " on rank 3") and
/// `way_out`. Any other gives kDiffers and "internal error: …".
[[nodiscard]] std::string packed_current_error(const std::string& where,
                                               const std::string& way_out);

}  // namespace th
