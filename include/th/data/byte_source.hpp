#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace th::data {

/// The longest time for which a pipe may bring nothing.
inline constexpr std::chrono::milliseconds kPipePatience{60000};

/// The unpacked bytes of a text file, block after block: plain, or gzip of one or several members.
/// A pipe is read too, once.
class ByteSource {
 public:
  /// Messages name the file `name`; `path` is opened. Throws DataError for what can't be read, for
  /// a folder, and for files packed by bzip2, xz, zstd or zip.
  ByteSource(std::string name, const std::string& path,
             std::chrono::milliseconds patience = kPipePatience);
  ~ByteSource();
  ByteSource(ByteSource&&) noexcept;

  /// Fills a part of the block and returns its size; 0 at the end. Throws DataError for damaged or
  /// cut gzip, for bytes behind its end, and for a pipe from which nothing comes for `patience`.
  [[nodiscard]] std::size_t read(std::span<char> block);

 private:
  class Raw;
  class Gzip;
  std::unique_ptr<Raw> raw_;
  std::unique_ptr<Gzip> gzip_;  ///< null: plain
};

/// A file's size and time when it was read. If another file is there later, they differ.
struct FileStamp {
  std::string path;
  std::int64_t bytes = -1;    ///< -1: no regular file, which can't be compared
  std::int64_t modified = 0;  ///< nanoseconds since 1970
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
/// bytes is -1 also for a file that is not there.
[[nodiscard]] FileStamp stamp_of(const std::string& path);

}  // namespace th::data
