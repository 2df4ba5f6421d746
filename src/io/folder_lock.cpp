#include "th/io/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "th/base/error.hpp"

namespace th::io {

namespace {

/// " (process 123 of this host)" of who holds a lock on a file, by /proc/locks: "1: FLOCK ADVISORY
/// WRITE 123 08:01:456 0 EOF". Empty where it does not tell.
std::string holder_of(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return "";
  const std::string end = std::string(":").append(std::to_string(status.st_ino));
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, advisory, access, pid, place;
    words >> number >> kind >> advisory >> access >> pid >> place;
    if (kind == "FLOCK" && place.ends_with(end)) return " (process " + pid + " of this host)";
  }
  return "";
}

}  // namespace

FolderLock::FolderLock(const std::string& folder, std::chrono::duration<double> patience) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  FileDescriptor opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  while (opened.get() >= 0 && flock(opened.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return;  // no locks there
    if (Clock::now() - start > patience) {
      throw DeckError("run.output_dir: another run writes to " + folder + holder_of(opened.get()) +
                      "; wait for its end or give another folder");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  folder_ = std::move(opened);
}

bool FolderLock::holds(const std::string& folder) const noexcept {
  struct stat mine {
  }, named{};
  return fstat(folder_.get(), &mine) == 0 && stat(folder.c_str(), &named) == 0 &&
         mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

}  // namespace th::io
