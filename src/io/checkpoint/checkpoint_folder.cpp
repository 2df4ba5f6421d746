#include "th/io/checkpoint/checkpoint_folder.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "io/failure.hpp"
#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/failure_point.hpp"

namespace th::io {
namespace fs = std::filesystem;
namespace {

void rename_path(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    fail_with_reason("cannot rename " + from + " to", to, errno);
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail_with_reason("cannot remove", path, error.value());
}

std::string read_latest(const std::string& dir) { return read_name(dir, kLatest); }

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// A checkpoint that one of the same step was about to replace when the job died.
constexpr const char* kSetAside = ".old_";

bool is_step(const std::string& name) {
  return name.rfind("step_", 0) == 0 && name.size() > 5 &&
         name.find_first_not_of("0123456789", 5) == std::string::npos;
}

/// Step names, newest first. Where only a set-aside folder of a step is there, that one, with its
/// prefix.
std::vector<std::string> step_folders(const std::string& dir) {
  // Step name to folder name; names of one width sort as their numbers do.
  std::map<std::string, std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool aside = name.rfind(kSetAside, 0) == 0;
    const std::string step = aside ? name.substr(std::strlen(kSetAside)) : name;
    if (!is_step(step)) continue;
    if (aside)
      found.try_emplace(step, name);
    else
      found[step] = name;
  }
  std::vector<std::pair<std::string, std::string>> sorted(found.begin(), found.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a.first > b.first;
  });
  std::vector<std::string> names;
  for (auto& entry : sorted) names.push_back(std::move(entry.second));
  return names;
}

/// What crashed saves left: temporary folders, and set-aside ones whose replacement is there.
void remove_leftovers(const std::string& dir) {
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool replaced = name.rfind(kSetAside, 0) == 0 &&
                          fs::exists(dir + "/" + name.substr(std::strlen(kSetAside)));
    const bool unfinished = name.rfind(".tmp_step_", 0) == 0 || name.rfind(".tmp_mean_", 0) == 0;
    if (replaced || unfinished) leftovers.push_back(it->path());
  }
  for (const fs::path& path : leftovers) remove_tree(path.string());
}

/// Puts `temporary` in the place of a checkpoint that is there. Both swap names in one move, so
/// that a crash leaves one of them whole.
void replace_folder(const std::string& temporary, const std::string& final_path,
                    const std::string& old) {
  FailurePoint::pass("exchange of the checkpoint");
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0)
    return remove_tree(temporary);
  remove_tree(old);
  rename_path(final_path, old);
  FailurePoint::pass("the replaced checkpoint is set aside");
  rename_path(temporary, final_path);
  remove_tree(old);
}

}  // namespace

void sync_path(const std::string& path) {
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail_with_reason("cannot open", path, errno);
  if (fsync(fd.get()) != 0 && errno != EINVAL) fail_with_reason("cannot fsync", path, errno);
}

void require_creatable(const std::string& path) {
  const FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (fd.get() < 0) fail_with_reason("cannot create", path, errno);
}

namespace {

std::string numbered_name(const char* what, std::int64_t step) {
  char text[40];
  std::snprintf(text, sizeof text, "%s_%08lld", what, static_cast<long long>(step));
  return text;
}

}  // namespace

std::string step_name(std::int64_t step) { return numbered_name("step", step); }

std::string mean_name(std::int64_t step) { return numbered_name("mean", step); }

std::string begin_checkpoint(const std::string& checkpoints_dir, std::int64_t step,
                             std::int64_t bytes) {
  return begin_folder(checkpoints_dir, step_name(step), bytes);
}

std::string begin_folder(const std::string& checkpoints_dir, const std::string& name,
                         std::int64_t bytes) {
  FailurePoint::pass("removing leftovers");
  const std::string path = checkpoints_dir + "/.tmp_" + name;
  remove_leftovers(checkpoints_dir);
  std::error_code error;
  fs::create_directories(checkpoints_dir, error);
  if (error) fail_with_reason("cannot create the folder", checkpoints_dir, error.value());
  require_free_space(checkpoints_dir, bytes);
  FailurePoint::pass("creating the temporary folder");
  fs::create_directories(path, error);
  if (error) fail_with_reason("cannot create the folder", path, error.value());
  FailurePoint::pass("the temporary folder is there");
  return path;
}

void discard_checkpoint(const std::string& checkpoints_dir, std::int64_t step) noexcept {
  discard_folder(checkpoints_dir, step_name(step));
}

void discard_folder(const std::string& checkpoints_dir, const std::string& name) noexcept {
  std::error_code ignored;
  fs::remove_all(checkpoints_dir + "/.tmp_" + name, ignored);
}

void publish_checkpoint(const std::string& checkpoints_dir, std::int64_t step) {
  publish_folder(checkpoints_dir, step_name(step));
  write_name(checkpoints_dir, kLatest, step_name(step));
  FailurePoint::pass("the checkpoint is complete");
}

void publish_folder(const std::string& checkpoints_dir, const std::string& name) {
  const std::string temporary = checkpoints_dir + "/.tmp_" + name;
  const std::string final_path = checkpoints_dir + "/" + name;
  FailurePoint::pass("fsync of the temporary folder");
  sync_path(temporary);
  FailurePoint::pass("rename of the checkpoint");
  if (fs::exists(final_path))
    replace_folder(temporary, final_path, checkpoints_dir + "/" + kSetAside + name);
  else
    rename_path(temporary, final_path);
  FailurePoint::pass("fsync of the checkpoints folder");
  sync_path(checkpoints_dir);
}

void write_name(const std::string& checkpoints_dir, const std::string& file,
                const std::string& name) {
  const std::string path = checkpoints_dir + "/" + file;
  FailurePoint::pass("writing the file that names a checkpoint");
  {
    std::ofstream out(path + ".tmp", std::ios::trunc);
    out << name << '\n' << std::flush;
    if (!out) fail_with_reason("cannot write", path + ".tmp", errno);
  }
  FailurePoint::pass("fsync of the file that names a checkpoint");
  sync_path(path + ".tmp");
  FailurePoint::pass("rename of the file that names a checkpoint");
  rename_path(path + ".tmp", path);
  FailurePoint::pass("fsync after that rename");
  sync_path(checkpoints_dir);
}

std::string read_name(const std::string& checkpoints_dir, const std::string& file) {
  std::ifstream in(checkpoints_dir + "/" + file);
  std::string name;
  std::getline(in, name);
  return name;
}

void remove_name(const std::string& checkpoints_dir, const std::string& file) {
  std::error_code error;
  fs::remove(checkpoints_dir + "/" + file, error);
  if (error) fail_with_reason("cannot remove", checkpoints_dir + "/" + file, error.value());
}

std::string checkpoint_of_name_file(const std::string& path) {
  const fs::path given = path;
  const std::string file = given.filename().string();
  if (file != kLatest && file != kBest && file != kFinal) return path;
  std::error_code ignored;
  fs::path folder = given.parent_path();
  if (!fs::is_regular_file(given, ignored)) {
    if (fs::exists(given, ignored) || !fs::is_regular_file(folder / "checkpoints" / file, ignored))
      return path;
    folder /= "checkpoints";
  }
  const std::string name = read_name(folder.string(), file);
  const fs::path named = folder / name;
  if (name.empty() || !fs::exists(named / "model.h5", ignored))
    throw CheckpointError(path + " names '" + name + "', which is no checkpoint of " +
                          folder.string());
  return named.string();
}

std::string named_checkpoint(const std::string& path) {
  std::error_code ignored;
  for (const char* below : {"/checkpoints/", "/"}) {
    const std::string file = path + below + kFinal;
    if (fs::is_regular_file(file, ignored)) return checkpoint_of_name_file(file);
  }
  return checkpoint_of_name_file(path);
}

bool go_on_from(const std::string& checkpoints_dir, const std::string& checkpoint) {
  std::error_code error;
  const fs::path path = fs::path(checkpoint).has_filename() ? fs::path(checkpoint)
                                                            : fs::path(checkpoint).parent_path();
  if (!fs::equivalent(path.parent_path(), checkpoints_dir, error) || error) return false;
  std::string name = path.filename().string();
  if (name.rfind(kSetAside, 0) == 0) name.erase(0, std::strlen(kSetAside));
  if (!is_step(name) || name == read_latest(checkpoints_dir)) return false;
  write_name(checkpoints_dir, kLatest, name);
  return true;
}

void remove_old_checkpoints(const std::string& checkpoints_dir, const Retention& retention) {
  if (retention.keep_last <= 0 && retention.dropped.empty()) return;
  auto names = step_folders(checkpoints_dir);
  const auto newest = std::find(names.begin(), names.end(), read_latest(checkpoints_dir));
  if (newest == names.end()) return;
  names.erase(names.begin(), newest);
  std::int64_t sound = 0;
  for (const std::string& name : names) {
    const bool old = retention.keep_last > 0 && sound >= retention.keep_last;
    const bool dropped = sound >= retention.newest && contains(retention.dropped, name);
    if ((old || dropped) && !contains(retention.kept, name)) {
      FailurePoint::pass("removing an old checkpoint");
      remove_tree(checkpoints_dir + "/" + name);
    } else if (!contains(retention.damaged, name)) {
      ++sound;
    }
  }
}

std::vector<std::string> checkpoint_candidates(const std::string& checkpoints_dir,
                                               std::vector<std::string>& notes) {
  auto names = step_folders(checkpoints_dir);
  const std::string latest = read_latest(checkpoints_dir);
  if (!latest.empty()) {
    const auto it = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return name == latest || name == kSetAside + latest;
    });
    if (it != names.end())
      names.erase(names.begin(), it);
    else
      notes.push_back(checkpoints_dir + "/latest names " + latest + ", which is not there");
  }
  for (std::string& name : names) name.insert(0, checkpoints_dir + "/");
  return names;
}

std::optional<std::string> find_latest(const std::string& checkpoints_dir,
                                       std::vector<std::string>& notes) {
  for (const std::string& path : checkpoint_candidates(checkpoints_dir, notes)) {
    try {
      const CheckpointReader reader(path);
      reader.require_complete();
      return path;
    } catch (const NewerFormatError&) {
      throw;
    } catch (const CheckpointError& error) {
      notes.push_back(path + " is damaged: " + error.what());
    }
  }
  return std::nullopt;
}

std::int64_t free_bytes(const std::string& dir) {
  struct statvfs info {};
  if (statvfs(dir.c_str(), &info) != 0)
    fail_with_reason("cannot ask for the free space of", dir, errno);
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

void require_free_space(const std::string& dir, std::int64_t bytes) {
  const std::int64_t free = free_bytes(dir);
  if (free >= bytes) return;
  throw CheckpointError(
      "the checkpoint needs " + std::to_string(bytes) + " bytes but " + dir + " has " +
      std::to_string(free) +
      " free; free some space, lower checkpoint.keep_last or take another run.output_dir");
}

}  // namespace th::io
