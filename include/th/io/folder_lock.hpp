#pragma once

#include <chrono>
#include <string>

namespace th::io {

/// Keeps a folder for this process while it lives, against others that take it too, also when it is renamed meanwhile: flock(2) on the folder itself.
/// Where the file system has no locks, or the folder is not there, it holds nothing.
class FolderLock {
 public:
  FolderLock() = default;
  /// Waits for up to `patience` for another process to let it go. Throws DeckError that names the folder, and the process where it is of this host.
  FolderLock(const std::string& folder, std::chrono::duration<double> patience);
  /// Whether it holds a folder, and whether that is the one which has this name now.
  [[nodiscard]] bool holds() const noexcept { return fd_ >= 0; }
  [[nodiscard]] bool holds(const std::string& folder) const noexcept;
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

 private:
  int fd_ = -1;
};

}  // namespace th::io
