#include "th/io/checkpoint/output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "io/failure.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"

namespace th::io {
namespace fs = std::filesystem;
namespace {

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

/// "out/" is out.
std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string temporary_name(const std::string& path) {
  return parent_of(path) + "/.new_" + fs::path(path).filename().string() + "." +
         std::to_string(getpid());
}

void require_free(const std::string& path, Existing existing) {
  std::error_code ignored;
  if (existing == Existing::kRefuse && fs::exists(path, ignored))
    throw DeckError(path + " is already there; --force replaces it");
}

/// Whether a folder holds files of these names alone, or of a checkpoint's where they are empty.
bool holds_alone(const fs::path& folder, const std::vector<std::string>& files) {
  std::error_code error;
  bool only = fs::is_directory(folder, error);
  for (fs::directory_iterator it(folder, error), end; only && !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    only = files.empty() ? name == "model.h5" ||
                               (name.rfind("shard_", 0) == 0 && it->path().extension() == ".h5")
                         : std::find(files.begin(), files.end(), name) != files.end();
  }
  return only && !error;
}

}  // namespace

OutputFile::OutputFile(std::string path, Existing existing)
    : path_(std::move(path)), temporary_(temporary_name(path_)), existing_(existing) {
  std::error_code ignored;
  if (fs::exists(path_, ignored) && !fs::is_regular_file(path_, ignored))
    throw DeckError(path_ + " is no ordinary file; give another name");
  require_free(path_, existing_);
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_with_reason("cannot create", path_, errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(),
                                 std::min<std::size_t>(bytes.size(), std::size_t{1} << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_with_reason("cannot write", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    size_ += done;
  }
}

void OutputFile::commit() {
  require_free(path_, existing_);
  if (fsync(descriptor_) != 0 && errno != EINVAL) fail_with_reason("cannot fsync", path_, errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail_with_reason("cannot rename " + temporary_ + " to", path_, errno);
  close(descriptor_);
  descriptor_ = -1;
  sync_path(parent_of(path_));
}

OutputFolder::OutputFolder(std::string path, Existing existing,
                           const std::vector<std::string>& files)
    : path_(without_slash(std::move(path))), temporary_(temporary_name(path_)) {
  std::error_code error;
  require_free(path_, existing);
  if (fs::exists(path_, error) && !holds_alone(path_, files)) {
    throw DeckError(path_ + " holds other things than one " +
                    (files.empty() ? "checkpoint" : "exported model") +
                    "; it is not replaced, give another name");
  }
  fs::remove_all(temporary_, error);
  fs::create_directory(temporary_, error);
  if (error) fail_with_reason("cannot create", path_, error.value());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void OutputFolder::commit() {
  sync_path(temporary_);
  std::error_code ignored;
  if (!fs::exists(path_, ignored)) {
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      fail_with_reason("cannot rename " + temporary_ + " to", path_, errno);
    temporary_.clear();
  } else if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) !=
             0) {
    fail_with_reason("cannot exchange " + temporary_ + " with", path_, errno);
  }  // else the destructor removes the old folder, which has the temporary name now
  sync_path(parent_of(path_));
}

}  // namespace th::io
