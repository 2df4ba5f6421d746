#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace th::data {

/// What became of the lines of a part of the corpus.
struct PartCounts {
  std::int64_t lines = 0;     ///< pairs of lines in the files
  std::int64_t pairs = 0;     ///< those that were kept
  std::int64_t blank = 0;     ///< dropped: a side has white space alone
  std::int64_t too_long = 0;  ///< dropped: a side is above its length (data.long_lines = drop)
  std::int64_t uneven = 0;    ///< dropped: the sides' lengths differ by more than data.max_ratio
  std::int64_t cut = 0;       ///< kept, and a side was cut to its length
  /// Ids of the kept pairs before they were cut, without begin and end, and the unknown of them.
  std::int64_t source_ids = 0, target_ids = 0, source_unknown = 0, target_unknown = 0;
  friend bool operator==(const PartCounts&, const PartCounts&) = default;
};

/// A file of which a part was made: its name without folders, hashed, size and time. Bytes -1: it
/// was a pipe, which can't be compared.
struct FileMark {
  std::uint64_t name = 0;
  std::int64_t bytes = -1;
  std::int64_t modified = 0;  ///< nanoseconds since 1970
  friend bool operator==(const FileMark&, const FileMark&) = default;
};

/// What an index knows of a part beside its ids.
struct PartInfo {
  PartCounts counts;
  std::uint64_t hash = 0;                ///< of the unpacked lines (PairReader::hash)
  std::vector<std::int64_t> file_pairs;  ///< kept pairs of each file, in the deck's order
  std::vector<FileMark> files;           ///< sources, then targets
  std::int64_t longest_source = 0, longest_target = 0;  ///< as SentenceLength counts
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
};

/// Which lines an index keeps beside ids.
struct KeptText {
  bool of_pairs = false;  ///< those of the kept pairs, each to be had by its number
  bool of_files = false;  ///< all lines of the files, and which of them a pair is
};

/// A file with encoded parts of a corpus and the tokenizers that encoded them, mapped read-only:
/// its pages are there once a node, however many processes map it. docs/corpora.md has its layout.
class IndexFile {
 public:
  /// Throws DataError, one line, where the file is missing, cut off, of another version, or its
  /// tables are damaged: whatever its bytes are, sections lie within it.
  explicit IndexFile(std::string path);
  ~IndexFile();
  IndexFile(const IndexFile&) = delete;
  IndexFile& operator=(const IndexFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The keys of the deck that it was written with, and those of its tokenizers.
  [[nodiscard]] const std::string& keys() const noexcept { return keys_; }
  [[nodiscard]] const std::string& tokenizer_keys() const noexcept { return tokenizer_keys_; }
  [[nodiscard]] bool has(const std::string& part) const { return parts_.contains(part); }
  /// Throws DataError where it has no such part.
  [[nodiscard]] const PartInfo& info(const std::string& part) const;
  /// Empty where the part has no such section.
  [[nodiscard]] std::span<const std::byte> section(const std::string& part,
                                                   const std::string& name) const;
  /// The tokenizers' bytes; that of the target is empty where both sides have one.
  [[nodiscard]] std::string_view source_tokenizer() const;
  [[nodiscard]] std::string_view target_tokenizer() const;
  /// The name of the first section whose bytes are not those that were written; empty: all are.
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
