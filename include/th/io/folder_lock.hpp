#pragma once

#include <chrono>
#include <string>

#include "th/base/file_descriptor.hpp"

namespace th::io {

/// A lock on a folder against other processes that lock it, held while the object lives. It is
/// flock(2) on the folder itself, so it stays when the folder is renamed. If the file system has no
/// locks, or the folder is missing, the object holds nothing.
class FolderLock {
 public:
  FolderLock() = default;
  /// Waits for up to `patience` for another process to release the folder. Throws DeckError that
  /// names the folder, and the process if it is on this host.
  FolderLock(const std::string& folder, std::chrono::duration<double> patience);
  /// Whether it holds a folder; and whether it holds the one that has this name now.
  [[nodiscard]] bool holds() const noexcept { return folder_.get() >= 0; }
  [[nodiscard]] bool holds(const std::string& folder) const noexcept;

 private:
  FileDescriptor folder_;  ///< closing it releases the folder
};

}  // namespace th::io
