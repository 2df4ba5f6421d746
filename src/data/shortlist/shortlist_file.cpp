#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/byte_source.hpp"
#include "th/data/shortlist/shortlist.hpp"
#include "th/data/tokenizer/special_ids.hpp"

// The file of a shortlist: docs/shortlist.md has its format.
namespace th::data {

namespace {

constexpr std::string_view kMagic = "th_shortlist ", kVersion = "1", kChecksum = "crc32c ";

std::string hex_text(std::uint64_t value, int digits) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%0*llx", digits, static_cast<unsigned long long>(value));
  return text.data();
}

/// "8000 0123456789abcdef": what ids mean.
std::string vocabulary_text(const Tokenizer& tokenizer) {
  std::uint64_t hash = hash_text(tokenizer.model());
  for (const std::string& token : tokenizer.tokens()) hash = hash_pair(hash, hash_text(token));
  return std::to_string(tokenizer.size()) + " " + hex_text(hash, 16);
}

void append_ids(const std::vector<std::int32_t>& ids, char before, std::string& out) {
  for (const std::int32_t id : ids) {
    out += std::exchange(before, ' ');
    out += std::to_string(id);
  }
  out += '\n';
}

std::string checksum_of(std::string_view text) {
  return hex_text(crc32c(std::as_bytes(std::span(text.data(), text.size()))), 8);
}

std::string read_bytes_of(const std::string& path) {
  ByteSource source(path, path);
  std::string bytes;
  std::vector<char> block(1 << 20);
  while (const std::size_t got = source.read(block)) bytes.append(block.data(), got);
  return bytes;
}

/// The lines of a file whose checksum is right.
class ShortlistReader {
 public:
  ShortlistReader(std::string path, std::string_view text) : path_(std::move(path)), rest_(text) {}

  /// What stands behind `name` in the next line.
  std::string_view named(std::string_view name) {
    const std::string_view line = next();
    if (!line.starts_with(name)) damaged("where '" + std::string(name) + "' belongs");
    return line.substr(name.size());
  }
  ShortlistIds lists(std::int64_t source_size, std::int64_t target_size) {
    ShortlistIds out;
    out.first = ids(named("first"), target_size);
    out.best.resize(static_cast<std::size_t>(source_size));
    std::int32_t before = kEnd;
    while (!rest_.empty()) {
      const std::string_view line = next();
      const std::size_t tab = std::min(line.find('\t'), line.size());
      const std::int32_t source = id(line.substr(0, tab), source_size);
      if (source <= before) damaged("source ids do not ascend");
      before = source;
      out.best[static_cast<std::size_t>(source)] = ids(line.substr(tab), target_size);
    }
    return out;
  }
  [[noreturn]] void damaged(const std::string& what) const {
    throw DataError(path_ + ":" + std::to_string(number_) + ": is no line of a shortlist (" + what +
                    "); write it anew with th_corpus shortlist");
  }

 private:
  std::string_view next() {
    ++number_;
    const std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) damaged("the file ends");
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }
  std::int32_t id(std::string_view word, std::int64_t vocabulary) const {
    std::int32_t value = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value <= kEnd ||
        value >= vocabulary)
      damaged("an id is from " + std::to_string(kEnd + 1) + " to " +
              std::to_string(vocabulary - 1));
    return value;
  }
  /// Each behind a blank or a tab.
  std::vector<std::int32_t> ids(std::string_view text, std::int64_t vocabulary) const {
    std::vector<std::int32_t> out;
    while (!text.empty()) {
      text.remove_prefix(1);
      const std::size_t end = std::min(text.find(' '), text.size());
      out.push_back(id(text.substr(0, end), vocabulary));
      text.remove_prefix(end);
    }
    return out;
  }

  std::string path_;
  std::string_view rest_;
  std::int64_t number_ = 0;
};

/// The text before the line of the checksum.
std::string_view checked(const std::string& path, std::string_view bytes) {
  if (!bytes.starts_with(kMagic))
    throw DataError(path +
                    ": is no shortlist; th_corpus shortlist CHECKPOINT --output F writes one");
  const std::size_t begin = bytes.rfind(kChecksum);
  const bool whole =
      begin != std::string_view::npos && bytes[begin - 1] == '\n' &&
      bytes.substr(begin) == std::string(kChecksum) + checksum_of(bytes.substr(0, begin)) + "\n";
  if (!whole)
    throw DataError(path +
                    ": is damaged or cut: its last line is not the checksum of the others; write "
                    "it anew with th_corpus shortlist");
  return bytes.substr(0, begin);
}

}  // namespace

void require_no_other_than_shortlist(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  std::string begin(kMagic.size(), '\0');
  std::ifstream(path, std::ios::binary).read(begin.data(), std::ssize(begin));
  if (begin == kMagic) return;
  throw DeckError(path + ": is there and no shortlist; name another file, or --force replaces it");
}

std::string Shortlist::text() const {
  std::string out = std::string(kMagic) + std::string(kVersion) + "\nsource " +
                    vocabulary_text(*tokenizers_.source) + "\ntarget " +
                    vocabulary_text(*tokenizers_.target) + "\nfirst";
  append_ids(lists_.first, ' ', out);
  for (std::size_t source = 0; source < lists_.best.size(); ++source) {
    if (lists_.best[source].empty()) continue;
    out += std::to_string(source);
    append_ids(lists_.best[source], '\t', out);
  }
  return out + std::string(kChecksum) + checksum_of(out) + "\n";
}

Shortlist Shortlist::read(const std::string& path, const TokenizerPair& tokenizers,
                          const std::string& model) {
  const std::string bytes = read_bytes_of(path);
  ShortlistReader reader(path, checked(path, bytes));
  if (const std::string_view version = reader.named(kMagic); version != kVersion)
    throw DataError(path + ": is a shortlist of format " + std::string(version) +
                    ", and this program reads format " + std::string(kVersion));
  const auto require_same = [&](const char* side, const Tokenizer& tokenizer) {
    const std::string_view found = reader.named(std::string(side) + " ");
    const std::string wanted = vocabulary_text(tokenizer);
    if (found != wanted)
      throw DataError(path + ": the shortlist is of another " + side +
                      " vocabulary (tokens and hash " + std::string(found) + ") than " + model +
                      " (" + wanted + "); th_corpus shortlist " + model +
                      " --output F writes one of its own");
  };
  require_same("source", *tokenizers.source);
  require_same("target", *tokenizers.target);
  ShortlistIds lists = reader.lists(tokenizers.source->size(), tokenizers.target->size());
  return {std::move(lists), tokenizers};
}

}  // namespace th::data
