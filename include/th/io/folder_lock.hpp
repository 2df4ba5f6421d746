#pragma once

#include <chrono>
#include <string>

#include "th/base/file_descriptor.hpp"

namespace th::io {

/// Keeps a folder for this process while it lives, against others that take it too, also when it is
/// renamed meanwhile: flock(2) on the folder itself. Where the file system has no locks, or the
/// folder is not there, it holds nothing.
class FolderLock {
 public:
  FolderLock() = default;
  /// Waits for up to `patience` for another process to let it go. Throws DeckError that names the
  /// folder, and the process where it is of this host.
  FolderLock(const std::string& folder, std::chrono::duration<double> patience);
  /// Whether it holds a folder, and whether that is the one which has this name now.
  [[nodiscard]] bool holds() const noexcept { return folder_.get() >= 0; }
  [[nodiscard]] bool holds(const std::string& folder) const noexcept;

 private:
  FileDescriptor folder_;  ///< closing it lets the folder go
};

}  // namespace th::io
