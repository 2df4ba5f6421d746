#include "app/report/files/test_lines.hpp"

#include <filesystem>
#include <string_view>

#include "app/report/parts/line_stream.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/byte_source.hpp"
#include "th/data/text.hpp"

namespace th::app {

namespace {

constexpr std::size_t kMostTestLines = 8;

/// The first lines of a text file, packed or plain; none where it can't be read, and of a pipe,
/// which is read once.
std::vector<std::string> first_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) return lines;
  try {
    data::ByteSource source(path, path);
    TextHash ignored;
    data::LineReader reader(
        path, [&](std::span<char> block) { return source.read(block); }, ignored);
    for (std::string_view line; lines.size() < kMostTestLines && reader.next(line);)
      lines.emplace_back(line);
  } catch (const DataError&) {
    return lines;
  }
  return lines;
}

}  // namespace

TestLines read_test_lines(const std::string& path, const DeckFile& deck) {
  TestLines test;
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return test;
  LineStream lines(path);
  for (std::string_view line; lines.next(line); ++test.count)
    if (test.first.size() < kMostTestLines) test.first.push_back({"", "", std::string(line)});
  const std::vector<std::string> source = first_lines(deck.value("data.test_source"));
  const std::vector<std::string> target = first_lines(deck.value("data.test_target"));
  for (std::size_t i = 0; i < test.first.size(); ++i) {
    if (i < source.size()) test.first[i].source = source[i];
    if (i < target.size()) test.first[i].reference = target[i];
  }
  return test;
}

}  // namespace th::app
