#include "th/data/text.hpp"

#include <algorithm>
#include <cstring>

#include "th/base/counted.hpp"
#include "th/base/error.hpp"

namespace th::data {
namespace {

constexpr std::string_view kMark = "\xEF\xBB\xBF";  // of UTF-8

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

LineReader reader_of(const InputFile& file, std::chrono::milliseconds patience, TextHash& hash) {
  const auto bytes = std::make_shared<ByteSource>(file.name, file.path, patience);
  return {file.name, [bytes](std::span<char> block) { return bytes->read(block); }, hash};
}

TextFile all_lines(LineReader reader, const TextHash& hash) {
  TextFile text;
  for (std::string_view line; reader.next(line);) text.lines.emplace_back(line);
  text.path = reader.name();
  text.hash = hash.value();
  return text;
}

std::int64_t count_lines(LineReader& reader) {
  for (std::string_view line; reader.next(line);) {
  }
  return reader.number();
}

}  // namespace

LineReader::LineReader(std::string name, Read read, TextHash& hash)
    : name_(std::move(name)), read_(std::move(read)), hash_(hash), buffer_(1 << 16) {}

bool LineReader::more() {
  if (at_end_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  const std::size_t got = read_(std::span(buffer_).subspan(end_));
  hash_.add({buffer_.data() + end_, got});
  end_ += got;
  if (got > 0)
    ends_with_line_feed_ = buffer_[end_ - 1] == '\n';
  else
    at_end_ = true;
  return got > 0;
}

bool LineReader::next(std::string_view& line) {
  constexpr std::size_t kNoLine = 1 << 22;  // bytes without an end, before the whole text is held
  std::size_t scanned = 0;
  while (true) {
    const char* from = buffer_.data() + begin_ + scanned;
    const auto* end = static_cast<const char*>(
        std::memchr(from, '\n', static_cast<std::size_t>(buffer_.data() + end_ - from)));
    if (end != nullptr) {
      const char* start = buffer_.data() + begin_;
      line = {start, static_cast<std::size_t>(end - start)};
      begin_ += line.size() + 1;
      saw_line_feed_ = true;
      break;
    }
    scanned = end_ - begin_;
    const std::string_view rest(buffer_.data() + begin_, scanned);
    if (!saw_line_feed_ && scanned > kNoLine && end_ == buffer_.size()) refuse_lone_returns(rest);
    if (std::ssize(rest) > kLongestTextLine) refuse_long_line();
    if (more()) continue;
    if (scanned == 0 || (number_ == 0 && rest == kMark)) return false;
    if (!saw_line_feed_) refuse_lone_returns(rest);
    line = {buffer_.data() + begin_, scanned};
    begin_ = end_;
    break;
  }
  if (++number_ == 1 && line.starts_with(kMark)) line.remove_prefix(kMark.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  check(line);
  return true;
}

void LineReader::refuse_lone_returns(std::string_view text) const {
  const std::size_t lone = text.find('\r');
  if (lone == std::string_view::npos || lone + 1 == text.size()) return;
  throw DataError(name_ + ": its lines end with CR alone, from byte " + std::to_string(lone + 1) +
                  " on, and LF or CRLF is read; convert the file, for example with tr '\\r' '\\n'");
}

void LineReader::refuse_long_line() const {
  throw DataError(name_ + ":" + std::to_string(number_ + 1) + ": the line has more than " +
                  std::to_string(kLongestTextLine) +
                  " bytes, so this is no text of a sentence or a document a line");
}

void LineReader::check(std::string_view line) const {
  if (const std::size_t zero = line.find('\0'); zero != std::string_view::npos) {
    throw DataError(place() + ": a zero byte at byte " + std::to_string(zero + 1) +
                    " of the line: this is no text (UTF-16?); convert the file, for example with "
                    "iconv -t UTF-8");
  }
  if (const std::size_t bad = invalid_utf8(line); bad != std::string_view::npos)
    throw DataError(place() + ": invalid UTF-8 at byte " + std::to_string(bad + 1) +
                    " of the line; convert the file, for example with iconv -t UTF-8");
}

TextFile read_text(const std::filesystem::path& path) {
  TextHash hash;
  return all_lines(reader_of({path.string(), path.string()}, kPipePatience, hash), hash);
}

TextFile text_of(std::string_view bytes, const std::string& name) {
  TextHash hash;
  const auto read = [rest = bytes](std::span<char> block) mutable {
    const std::size_t count = std::min(block.size(), rest.size());
    std::copy_n(rest.begin(), count, block.begin());
    rest.remove_prefix(count);
    return count;
  };
  return all_lines({name, read, hash}, hash);
}

void PairReader::open() {
  const bool tsv = files_.format == config::TextFormat::kTsv;
  // Two files are one text: the next begins a line.
  if (source_ && !source_->ends_with_line_feed() && !tsv) source_hash_.add("\n");
  if (target_ && !target_->ends_with_line_feed()) target_hash_.add("\n");
  source_.emplace(
      reader_of(files_.source[file_], files_.patience, tsv ? line_hash_ : source_hash_));
  if (!tsv) target_.emplace(reader_of(files_.target[file_], files_.patience, target_hash_));
}

bool PairReader::next(Pair& pair) {
  const bool tsv = files_.format == config::TextFormat::kTsv;
  while (file_ < files_.source.size()) {
    if (!source_) open();
    if (tsv ? next_of_tsv(pair) : next_of_two(pair)) return true;
    if (++file_ < files_.source.size()) open();
  }
  return false;
}

bool PairReader::next_of_two(Pair& pair) {
  const bool source = source_->next(pair.source), target = target_->next(pair.target);
  if (source && target) return true;
  const std::int64_t sources = count_lines(*source_), targets = count_lines(*target_);
  if (sources != targets)
    throw DataError(source_->name() + " has " + std::to_string(sources) + " lines, " +
                    target_->name() + " has " + std::to_string(targets) +
                    "; parallel files need one line for each sentence pair");
  return false;
}

bool PairReader::next_of_tsv(Pair& pair) {
  std::string_view line;
  if (!source_->next(line)) return false;
  const std::size_t tab = line.find('\t');
  const auto columns = 1 + std::count(line.begin(), line.end(), '\t');
  if (columns != 2)
    throw DataError(source_->place() + ": " + counted(columns, "column") +
                    " in place of two, the source, a tab and the target (data.format = tsv)");
  pair = {line.substr(0, tab), line.substr(tab + 1)};
  source_hash_.add(pair.source);
  source_hash_.add("\n");
  target_hash_.add(pair.target);
  target_hash_.add("\n");
  return true;
}

std::string PairReader::target_place() const {
  return target_ ? target_->place() : source_->place();
}

bool is_blank(std::string_view line) { return std::all_of(line.begin(), line.end(), is_space); }

bool is_white(std::string_view line) {
  using namespace std::string_view_literals;
  static constexpr std::array kSpaces{"\u0085"sv, "\u00A0"sv, "\u1680"sv, "\u2000"sv, "\u2001"sv,
                                      "\u2002"sv, "\u2003"sv, "\u2004"sv, "\u2005"sv, "\u2006"sv,
                                      "\u2007"sv, "\u2008"sv, "\u2009"sv, "\u200A"sv, "\u2028"sv,
                                      "\u2029"sv, "\u202F"sv, "\u205F"sv, "\u3000"sv};
  while (!line.empty()) {
    const auto space = std::find_if(kSpaces.begin(), kSpaces.end(),
                                    [&](std::string_view s) { return line.starts_with(s); });
    if (!is_space(line.front()) && space == kSpaces.end()) return false;
    line.remove_prefix(is_space(line.front()) ? 1 : space->size());
  }
  return true;
}

}  // namespace th::data
