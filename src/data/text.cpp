#include "th/data/text.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {
namespace {

std::string read_bytes(const std::string& path) {
  std::error_code status;
  if (std::filesystem::is_directory(path, status))
    throw DataError(path + ": is a folder; name a text file");
  errno = 0;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr)
    throw DataError(path + ": can't be read: " + std::strerror(errno) +
                    "; check the path in the deck");
  std::string bytes;
  std::array<char, 1 << 16> block{};
  int got = 0;
  while ((got = gzread(file, block.data(), static_cast<unsigned>(block.size()))) > 0)
    bytes.append(block.data(), static_cast<std::size_t>(got));
  int code = Z_OK;
  const std::string reason = gzerror(file, &code);
  const int closed = gzclose_r(file);
  if (got < 0 || closed != Z_OK)
    throw DataError(path + ": damaged or cut off after " + std::to_string(bytes.size()) +
                    " unpacked bytes (" + reason + ")");
  return bytes;
}

/// Position of the first byte that is not valid UTF-8 (RFC 3629), npos when all are.
std::size_t invalid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = [&](std::size_t k) {
      return k < text.size() ? static_cast<unsigned char>(text[k]) : 0U;
    };
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t more = lead >= 0xC2 && lead <= 0xDF   ? 1
                             : lead >= 0xE0 && lead <= 0xEF ? 2
                             : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                            : 0;
    if (more == 0) return i;
    const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i + 1) < low || byte(i + 1) > high) return i;
    for (std::size_t k = 2; k <= more; ++k)
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    i += more + 1;
  }
  return std::string_view::npos;
}

bool is_blank(const std::string& line) { return std::all_of(line.begin(), line.end(), is_space); }

}  // namespace

TextFile read_text(const std::filesystem::path& path) {
  return text_of(read_bytes(path.string()), path.string());
}

TextFile text_of(std::string_view bytes, const std::string& name) {
  TextFile text;
  text.path = name;
  text.hash = hash_text(bytes);
  std::string_view rest = bytes;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (const std::size_t zero = line.find('\0'); zero != std::string_view::npos) {
      throw DataError(text.path + ":" + std::to_string(text.lines.size() + 1) +
                      ": a zero byte at byte " + std::to_string(zero + 1) +
                      " of the line: this is no text (UTF-16?); convert the file, for example with "
                      "iconv -t UTF-8");
    }
    const std::size_t bad = invalid_utf8(line);
    if (bad != std::string_view::npos)
      throw DataError(text.path + ":" + std::to_string(text.lines.size() + 1) +
                      ": invalid UTF-8 at byte " + std::to_string(bad + 1) +
                      " of the line; convert the file, for example with iconv -t UTF-8");
    text.lines.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return text;
}

ParallelText read_parallel(const std::filesystem::path& source, const std::filesystem::path& target,
                           config::EmptyLines empty_lines) {
  ParallelText text{read_text(source), read_text(target), 0, {}};
  const std::size_t count = text.source.lines.size();
  if (count != text.target.lines.size())
    throw DataError(text.source.path + " has " + std::to_string(count) + " lines, " +
                    text.target.path + " has " + std::to_string(text.target.lines.size()) +
                    "; parallel files need one line for each sentence pair");
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const bool blank = is_blank(text.source.lines[i]);
    if (blank || is_blank(text.target.lines[i])) {
      if (empty_lines == config::EmptyLines::kError)
        throw DataError(
            (blank ? text.source.path : text.target.path) + ":" + std::to_string(i + 1) +
            ": empty line; mend the file or set data.empty_lines=skip to drop such pairs");
      ++text.skipped;
      continue;
    }
    if (kept != i) {
      text.source.lines[kept] = std::move(text.source.lines[i]);
      text.target.lines[kept] = std::move(text.target.lines[i]);
    }
    ++kept;
  }
  text.source.lines.resize(kept);
  text.target.lines.resize(kept);
  if (text.skipped > 0)
    text.warnings.push_back(text.source.path + ", " + text.target.path + ": " +
                            std::to_string(text.skipped) + " of " + std::to_string(count) +
                            " pairs skipped because a line is empty");
  return text;
}

}  // namespace th::data
