#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace th::data {

/// How many lines of a part of the corpus were kept, dropped and cut.
struct PartCounts {
  std::int64_t lines = 0;     ///< pairs of lines in the files
  std::int64_t pairs = 0;     ///< those that were kept
  std::int64_t blank = 0;     ///< dropped: a side has white space alone
  std::int64_t too_long = 0;  ///< dropped: a side is above its length (data.long_lines = drop)
  std::int64_t uneven = 0;    ///< dropped: the sides' lengths differ by more than data.max_ratio
  std::int64_t cut = 0;       ///< kept, and a side was cut to its length
  /// Numbers of ids of the kept pairs before they were cut, without begin and end, and of unknown
  /// ids.
  std::int64_t source_ids = 0, target_ids = 0, source_unknown = 0, target_unknown = 0;
  friend bool operator==(const PartCounts&, const PartCounts&) = default;
};

/// A file from which a part was made: the hash of its name without folders, size and time. Bytes
/// -1: it was a pipe, which can't be compared.
struct FileMark {
  std::uint64_t name = 0;
  std::int64_t bytes = -1;
  std::int64_t modified = 0;  ///< nanoseconds since 1970
  friend bool operator==(const FileMark&, const FileMark&) = default;
};

/// What an index holds of a part beside its ids.
struct PartInfo {
  PartCounts counts;
  std::uint64_t hash = 0;                ///< of the unpacked lines (PairReader::hash)
  std::vector<std::int64_t> file_pairs;  ///< kept pairs of each file, in the deck's order
  std::vector<FileMark> files;           ///< sources, then targets
  std::int64_t longest_source = 0, longest_target = 0;  ///< as SentenceLength counts
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
};

/// Which lines an index holds beside ids.
struct KeptText {
  bool of_pairs = false;  ///< those of the kept pairs, found by a pair's number
  bool of_files = false;  ///< all lines of the files, and the line of each pair
};

/// A file with encoded parts of a corpus and the tokenizers that encoded them. It is mapped
/// read-only, so a node holds its pages once, however many processes map it. docs/corpora.md has
/// its layout.
class IndexFile {
 public:
  /// Throws DataError, one line, if the file is missing, cut off, of another version, or has
  /// damaged tables. Whatever the bytes are, sections lie within the file.
  explicit IndexFile(std::string path);
  ~IndexFile();
  IndexFile(const IndexFile&) = delete;
  IndexFile& operator=(const IndexFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The keys of the deck that it was written with, and those of its tokenizers.
  [[nodiscard]] const std::string& keys() const noexcept { return keys_; }
  [[nodiscard]] const std::string& tokenizer_keys() const noexcept { return tokenizer_keys_; }
  [[nodiscard]] bool has(const std::string& part) const { return parts_.contains(part); }
  /// Throws DataError if it has no such part.
  [[nodiscard]] const PartInfo& info(const std::string& part) const;
  /// The bytes of a section; empty if the part has no such section.
  [[nodiscard]] std::span<const std::byte> section(const std::string& part,
                                                   const std::string& name) const;
  /// The tokenizers' bytes; those of the target are empty if both sides share a tokenizer.
  [[nodiscard]] std::string_view source_tokenizer() const;
  [[nodiscard]] std::string_view target_tokenizer() const;
  /// The name of the first damaged section; empty if all have the bytes that were written.
  [[nodiscard]] std::string damaged_section() const;
  /// Throws the DataError of a damaged index.
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  struct Section {
    std::uint64_t offset = 0, bytes = 0;
    std::uint32_t crc = 0;
  };
  struct Part {
    PartInfo info;
    std::map<std::string, Section> sections;
  };
  void read(std::string_view tables);
  [[nodiscard]] std::span<const std::byte> bytes_of(const Section& section) const;

  std::string path_, keys_, tokenizer_keys_;
  const std::byte* map_ = nullptr;
  std::size_t bytes_ = 0;
  std::map<std::string, Part> parts_;
  std::map<std::string, Section> tokenizers_;
};

}  // namespace th::data
