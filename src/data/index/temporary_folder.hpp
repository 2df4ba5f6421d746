#pragma once

#include <cstdint>
#include <string>

#include "th/base/file_descriptor.hpp"

namespace th::data {

/// A folder of this process alone, which goes when the object does. While it lives the process
/// holds a lock on a file in it: a folder whose lock nobody holds is what a dead process left, and
/// the next one that makes a folder beside it removes it.
class TemporaryFolder {
 public:
  /// Makes the folder below `parent`, after what dead processes left there was removed. Throws
  /// DataError where it can't be made.
  explicit TemporaryFolder(const std::string& parent);
  ~TemporaryFolder() { clear(); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Removes the folder and what is in it; files that are mapped stay until they are not.
  void clear() noexcept;

 private:
  std::string path_;
  FileDescriptor lock_;
};

/// The nearest folder above `path`, or itself, that is there.
[[nodiscard]] std::string existing_folder(const std::string& path);
/// Bytes that this process may still write there; -1 where it may write none.
[[nodiscard]] std::int64_t room_in(const std::string& folder);

}  // namespace th::data
