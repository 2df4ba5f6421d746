#include "th/io/checkpoint_folder.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "th/base/error.hpp"
#include "th/io/checkpoint_reader.hpp"

namespace th::io {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path, int error) {
  throw CheckpointError(what + " " + path + ": " + std::strerror(error));
}

void rename_path(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) fail("cannot rename " + from + " to", to, errno);
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail("cannot remove", path, error.value());
}

std::string read_latest(const std::string& dir) {
  std::ifstream file(dir + "/latest");
  std::string name;
  std::getline(file, name);
  return name;
}

std::vector<std::string> step_folders(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.rfind("step_", 0) == 0 && name.find_first_not_of("0123456789", 5) == std::string::npos) names.push_back(name);
  }
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a > b;
  });
  return names;
}

}  // namespace

void sync_path(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open", path, errno);
  const int status = fsync(fd);
  const int error = errno;
  close(fd);
  if (status != 0 && error != EINVAL) fail("cannot fsync", path, error);
}

void require_creatable(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail("cannot create", path, errno);
  close(fd);
}

std::string step_name(std::int64_t step) {
  char text[40];
  std::snprintf(text, sizeof text, "step_%08lld", static_cast<long long>(step));
  return text;
}

std::string begin_checkpoint(const std::string& checkpoints_dir, std::int64_t step) {
  const std::string path = checkpoints_dir + "/.tmp_" + step_name(step);
  remove_tree(path);
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail("cannot create the folder", path, error.value());
  return path;
}

void publish_checkpoint(const std::string& checkpoints_dir, std::int64_t step) {
  const std::string name = step_name(step);
  const std::string temporary = checkpoints_dir + "/.tmp_" + name;
  const std::string final_path = checkpoints_dir + "/" + name;
  sync_path(temporary);
  if (fs::exists(final_path)) {
    // Both folders swap names in one move, so that a crash leaves one of them whole; then the old one goes.
    if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) != 0) {
      const std::string old = checkpoints_dir + "/.old_" + name;
      remove_tree(old);
      rename_path(final_path, old);
      rename_path(temporary, final_path);
      remove_tree(old);
    } else {
      remove_tree(temporary);
    }
  } else {
    rename_path(temporary, final_path);
  }
  sync_path(checkpoints_dir);
  const std::string latest = checkpoints_dir + "/latest";
  {
    std::ofstream file(latest + ".tmp", std::ios::trunc);
    file << name << '\n' << std::flush;
    if (!file) fail("cannot write", latest + ".tmp", errno);
  }
  sync_path(latest + ".tmp");
  rename_path(latest + ".tmp", latest);
  sync_path(checkpoints_dir);
}

void remove_old_checkpoints(const std::string& checkpoints_dir, std::int64_t keep_last) {
  if (keep_last <= 0) return;
  const auto names = step_folders(checkpoints_dir);
  const std::string latest = read_latest(checkpoints_dir);
  for (std::size_t i = static_cast<std::size_t>(keep_last); i < names.size(); ++i) {
    if (names[i] != latest) remove_tree(checkpoints_dir + "/" + names[i]);
  }
}

std::optional<std::string> find_latest(const std::string& checkpoints_dir, std::vector<std::string>& notes, Depth depth) {
  auto names = step_folders(checkpoints_dir);
  const std::string latest = read_latest(checkpoints_dir);
  if (!latest.empty()) {
    if (const auto it = std::find(names.begin(), names.end(), latest); it != names.end()) {
      names.erase(names.begin(), it);
    } else {
      notes.push_back(checkpoints_dir + "/latest names " + latest + ", which is not there");
    }
  }
  for (const auto& name : names) {
    const std::string path = checkpoints_dir + "/" + name;
    try {
      const CheckpointReader reader(path);
      reader.require_complete();
      if (depth == Depth::kChecksums) {
        if (const auto damage = reader.verify(); !damage.empty()) throw CheckpointError(damage.front());
      }
      return path;
    } catch (const CheckpointError& error) {
      notes.push_back(path + " is damaged: " + error.what());
    }
  }
  return std::nullopt;
}

std::int64_t free_bytes(const std::string& dir) {
  struct statvfs info {};
  if (statvfs(dir.c_str(), &info) != 0) fail("cannot ask for the free space of", dir, errno);
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

void require_free_space(const std::string& dir, std::int64_t bytes) {
  const std::int64_t free = free_bytes(dir);
  if (free >= bytes) return;
  throw CheckpointError("the checkpoint needs " + std::to_string(bytes) + " bytes but " + dir + " has " + std::to_string(free) +
                        " free; free some space or set checkpoint.keep_last");
}

}  // namespace th::io
