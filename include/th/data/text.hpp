#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "th/base/hash.hpp"
#include "th/config/run_config.hpp"
#include "th/data/byte_source.hpp"
#include "th/data/tokenizer/words.hpp"

namespace th::data {

/// Bytes of the longest line that is read. Of a file without line ends no more than this is held in
/// memory; unpacked, it could be a thousand times the size of the file.
inline constexpr std::int64_t kLongestTextLine = std::int64_t{1} << 26;

/// The lines of a text, one after the other, without line ends (LF or CRLF) and without a byte
/// order mark at the beginning.
class LineReader {
 public:
  /// Fills a part of a block and returns its size; 0 at the end.
  using Read = std::function<std::size_t(std::span<char>)>;
  /// Messages name the text `name`. All bytes are added to `hash`, which must outlive the reader.
  LineReader(std::string name, Read read, TextHash& hash);

  /// False at the end; the line is valid until the next call. Throws DataError `file:line: …` for
  /// invalid UTF-8, a zero byte, a line above kLongestTextLine, or a text whose line ends are CR
  /// alone.
  [[nodiscard]] bool next(std::string_view& line);
  /// The number of lines so far.
  [[nodiscard]] std::int64_t number() const noexcept { return number_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// "file:line" of the last line.
  [[nodiscard]] std::string place() const { return name_ + ":" + std::to_string(number_); }
  /// Whether the last byte that was read ends a line; true of an empty text.
  [[nodiscard]] bool ends_with_line_feed() const noexcept { return ends_with_line_feed_; }

 private:
  [[nodiscard]] bool more();
  void check(std::string_view line) const;
  void refuse_lone_returns(std::string_view text) const;
  [[noreturn]] void refuse_long_line() const;

  std::string name_;
  Read read_;
  TextHash& hash_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t number_ = 0;
  bool at_end_ = false, saw_line_feed_ = false, ends_with_line_feed_ = true;
};

/// All lines of a text file, and the hash of its unpacked bytes.
struct TextFile {
  std::string path;
  std::vector<std::string> lines;
  std::uint64_t hash = 0;
};

/// Reads UTF-8 text, gzip-packed or plain. Throws DataError as ByteSource and LineReader do.
[[nodiscard]] TextFile read_text(const std::filesystem::path& path);
/// The same for bytes that were read already; messages name them `name`.
[[nodiscard]] TextFile text_of(std::string_view bytes, const std::string& name);

/// A file's name in the deck, and the path of its bytes; they differ only for a pipe.
struct InputFile {
  std::string name, path;
};

/// The files of a part of the corpus: line i of source[f] belongs to line i of target[f]. With tsv
/// there are only source files.
struct PartFiles {
  std::vector<InputFile> source, target;
  config::TextFormat format = config::TextFormat::kText;
  std::chrono::milliseconds patience = kPipePatience;
};

/// The pairs of lines of a part, file after file.
class PairReader {
 public:
  explicit PairReader(const PartFiles& files) : files_(files) {}

  /// A pair of lines, valid until the next call.
  struct Pair {
    std::string_view source, target;
  };
  /// False at the end. Throws DataError as LineReader does, for unequal line counts of two files,
  /// and `file:line: …` for a line of tsv that has not two columns.
  [[nodiscard]] bool next(Pair& pair);
  /// The index of the file of the last pair.
  [[nodiscard]] std::size_t file() const noexcept { return file_; }
  /// "file:line" of the last pair's source and target.
  [[nodiscard]] std::string source_place() const { return source_->place(); }
  [[nodiscard]] std::string target_place() const;
  /// The hash of the unpacked bytes of all files, valid at the end. It depends neither on the
  /// files' names nor on how the pairs are divided into files.
  [[nodiscard]] std::uint64_t hash() const noexcept {
    return hash_pair(source_hash_.value(), target_hash_.value());
  }

 private:
  void open();
  [[nodiscard]] bool next_of_two(Pair& pair);
  [[nodiscard]] bool next_of_tsv(Pair& pair);

  PartFiles files_;
  std::size_t file_ = 0;
  TextHash source_hash_, target_hash_, line_hash_;
  std::optional<LineReader> source_, target_;
};

/// Whether a line is empty or all ASCII white space.
[[nodiscard]] bool is_blank(std::string_view line);
/// Whether a line of UTF-8 is empty or all white space by Unicode's White_Space, which has no-break
/// and ideographic spaces too.
[[nodiscard]] bool is_white(std::string_view line);

}  // namespace th::data
