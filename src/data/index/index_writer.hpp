#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/index/index_file.hpp"

namespace th::data {

/// An index could not be written because its disk is full.
class NoRoomError : public DataError {
 public:
  using DataError::DataError;
};

/// Writes an index part by part, pair by pair, with buffers of a few MiB whatever its size.
/// Everything throws DataError where the file can't be written, NoRoomError where the disk is full.
class IndexWriter {
 public:
  explicit IndexWriter(std::string path);
  ~IndexWriter();
  IndexWriter(const IndexWriter&) = delete;
  IndexWriter& operator=(const IndexWriter&) = delete;

  void begin_part(const std::string& name, KeptText kept);
  /// The next pair of lines of the files, kept or not.
  void add_line(std::string_view source, std::string_view target);
  /// Ids of a pair that is kept: of the line that was added last. `source` with its end, `target`
  /// with begin and end.
  void add(std::span<const std::int32_t> source, std::span<const std::int32_t> target);
  /// The longest lengths of `info` are found here.
  void end_part(PartInfo info);
  /// `target` is empty where both sides have one tokenizer.
  void set_tokenizers(std::string_view source, std::string_view target);
  /// Ends the file. IndexFile::keys and tokenizer_keys.
  void finish(const std::string& keys, const std::string& tokenizer_keys);
  /// Returns when the file is on disk.
  void sync();

 private:
  class Stream;
  struct State;
  [[nodiscard]] Stream& side(const char* name);
  std::unique_ptr<State> state_;
};

}  // namespace th::data
