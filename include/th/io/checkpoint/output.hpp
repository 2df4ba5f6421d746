#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace th::io {

/// What to do if the output exists already.
enum class Existing { kRefuse, kReplace };

/// A file that gets its name only when it is whole. It is written as .new_NAME.PID, fsynced and
/// renamed; without commit() nothing stays.
class OutputFile {
 public:
  /// Throws DeckError if the name exists and `existing` refuses, CheckpointError if the file can't
  /// be made.
  OutputFile(std::string path, Existing existing);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  /// Appends. Throws CheckpointError with path and errno text.
  void write(std::span<const std::byte> bytes);
  /// The number of bytes appended so far.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// fsyncs, and gives the file its name.
  void commit();

 private:
  std::string path_, temporary_;
  Existing existing_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

/// The same for a checkpoint's folder, or one with files of given names. An existing folder is
/// replaced in one move, and only if it holds a checkpoint, or those files, and nothing else.
class OutputFolder {
 public:
  /// `files`: the names of the files that the folder may have; empty: those of a checkpoint. Throws
  /// DeckError if the name exists and `existing` refuses, or if the folder holds other things.
  OutputFolder(std::string path, Existing existing, const std::vector<std::string>& files = {});
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  /// The folder of the files until commit(). Whoever writes a file fsyncs it.
  [[nodiscard]] const std::string& temporary() const noexcept { return temporary_; }
  void commit();

 private:
  std::string path_, temporary_;
};

}  // namespace th::io
