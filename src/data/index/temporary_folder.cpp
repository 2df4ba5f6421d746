#include "data/index/temporary_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "th/base/error.hpp"

namespace th::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "th_app.index.";
constexpr const char* kOwner = "owner";

/// Whether a process may be making the folder at this moment, and has not locked it yet.
bool is_new(const fs::path& folder) {
  constexpr auto kAge = std::chrono::minutes(1);
  std::error_code error;
  const auto made = fs::last_write_time(folder, error);
  return error || fs::file_time_type::clock::now() - made < kAge;
}

bool has_owner(const fs::path& folder) {
  const FileDescriptor file(::open((folder / kOwner).c_str(), O_RDWR | O_CLOEXEC));
  if (file.get() < 0) return errno != ENOENT || is_new(folder);
  return ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 || is_new(folder);
}

void remove_leftovers(const fs::path& parent) {
  std::error_code error;
  for (fs::directory_iterator at(parent, error), end; !error && at != end; at.increment(error)) {
    if (!at->path().filename().string().starts_with(kPrefix) || has_owner(at->path())) continue;
    std::error_code ignored;
    fs::remove_all(at->path(), ignored);
  }
}

}  // namespace

TemporaryFolder::TemporaryFolder(const std::string& parent) {
  remove_leftovers(parent);
  std::string name = (fs::path(parent) / (std::string(kPrefix) + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr)
    throw DataError(name +
                    ": the folder of the corpus index can't be made: " + std::strerror(errno));
  path_ = name;
  lock_ = FileDescriptor(
      ::open((fs::path(path_) / kOwner).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  // Where there are no locks, nothing tells a dead owner, and others keep away.
  static_cast<void>(::flock(lock_.get(), LOCK_EX | LOCK_NB));
}

void TemporaryFolder::clear() noexcept {
  if (path_.empty()) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string existing_folder(const std::string& path) {
  std::error_code error;
  fs::path folder = path.empty() ? fs::current_path(error) : fs::absolute(path, error);
  while (folder != folder.root_path() && !fs::is_directory(folder, error))
    folder = folder.parent_path();
  return folder.string();
}

std::int64_t room_in(const std::string& folder) {
  struct statvfs about {};
  if (::access(folder.c_str(), W_OK | X_OK) != 0 || ::statvfs(folder.c_str(), &about) != 0)
    return -1;
  return static_cast<std::int64_t>(about.f_bavail) * static_cast<std::int64_t>(about.f_frsize);
}

}  // namespace th::data
