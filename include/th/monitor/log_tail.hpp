#pragma once

#include <cstdint>
#include <string>

namespace th::monitor {

/// Cuts what a crash left at the end of a text file: zero bytes, and a last line without its
/// newline. Returns the number of bytes that were cut; 0 also if there is no file, or no regular
/// one. Throws DeckError if the file can't be cut. Not collective.
[[nodiscard]] std::int64_t cut_torn_tail(const std::string& path);

}  // namespace th::monitor
