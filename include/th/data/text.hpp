#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/words.hpp"

namespace th::data {

/// All lines of a text file without their line ends (LF or CRLF), and the hash of its unpacked
/// bytes.
struct TextFile {
  std::string path;
  std::vector<std::string> lines;
  std::uint64_t hash = 0;
};

/// Reads UTF-8 text, gzip-packed or plain. Throws DataError for a missing, unreadable or damaged
/// file and `file:line: …` for invalid UTF-8 or a zero byte.
[[nodiscard]] TextFile read_text(const std::filesystem::path& path);
/// The same of bytes that were read; `name` stands in messages.
[[nodiscard]] TextFile text_of(std::string_view bytes, const std::string& name);

/// Line i of `source` belongs to line i of `target`.
struct ParallelText {
  TextFile source, target;
  std::int64_t skipped = 0;           ///< pairs dropped because a side was empty
  std::vector<std::string> warnings;  ///< one for the user where pairs were dropped
};

/// Throws DataError for unequal line counts and, under kError, `file:line: …` for an empty line
/// (white space only).
[[nodiscard]] ParallelText read_parallel(const std::filesystem::path& source,
                                         const std::filesystem::path& target,
                                         config::EmptyLines empty_lines);

}  // namespace th::data
