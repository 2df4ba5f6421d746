#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace th::io {

/// What to do where the output's name is taken.
enum class Existing { kRefuse, kReplace };

/// A file that appears under its name only when it is whole: written beside it as .new_NAME.PID,
/// fsynced, renamed; without commit() nothing stays.
class OutputFile {
 public:
  /// Throws DeckError where the name is taken and `existing` refuses, CheckpointError where the
  /// file can't be made.
  OutputFile(std::string path, Existing existing);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  /// Appends. Throws CheckpointError with path and errno text.
  void write(std::span<const std::byte> bytes);
  /// Bytes appended so far.
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

/// The same for a checkpoint's folder, or one with files of given names. A folder of that name is
/// replaced in one move, and only where it holds a checkpoint, or those files, and nothing else.
class OutputFolder {
 public:
  /// `files`: the names that the folder may have; empty: those of a checkpoint. Throws DeckError
  /// where the name is taken and `existing` refuses or other things are there.
  OutputFolder(std::string path, Existing existing, const std::vector<std::string>& files = {});
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  /// Where the files go until commit(); each is fsynced by who writes it.
  [[nodiscard]] const std::string& temporary() const noexcept { return temporary_; }
  void commit();

 private:
  std::string path_, temporary_;
};

}  // namespace th::io
