#include "th/io/run_folder.hpp"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "th/base/error.hpp"

namespace th::io {

namespace {

namespace fs = std::filesystem;

constexpr const char *kManifest = "manifest", *kRun = "run";

/// Everything that a run may write. A user's file that has one of these names before the first run
/// is in the way: claim() refuses the folder.
const std::vector<std::string>& written() {
  static const std::vector<std::string> names{kManifest,
                                              kRun,
                                              "resolved.in",
                                              "run.log",
                                              "metrics.jsonl",
                                              "metrics.jsonl.partial",
                                              "test.hyp",
                                              "valid.hyp",
                                              "valid.ref",
                                              "valid.source",
                                              "trace.json",
                                              "bad_step_*.json",
                                              "bad/latest",
                                              "bad/latest.tmp",
                                              "bad/step_*/*",
                                              "bad/.tmp_*/*",
                                              "bad/.old_*/*",
                                              "flight_record.*.jsonl",
                                              "stacks.*.txt",
                                              "tensorboard/events.out.tfevents.*",
                                              "checkpoints/latest",
                                              "checkpoints/latest.tmp",
                                              "checkpoints/best",
                                              "checkpoints/best.tmp",
                                              "checkpoints/final",
                                              "checkpoints/final.tmp",
                                              "checkpoints/step_*/*",
                                              "checkpoints/mean_*/*",
                                              "checkpoints/.tmp_*/*",
                                              "checkpoints/.old_*/*"};
  return names;
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& what) {
  throw DeckError("run.output_dir: " + folder.string() + ' ' + what);
}

std::string reason(const std::error_code& code) { return code.message(); }

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

/// Whether the file begins as th_app's metrics do.
bool has_records(const fs::path& path) {
  constexpr std::string_view kBegin = "{\"kind\":";
  std::ifstream file(path, std::ios::binary);
  std::string begin(kBegin.size(), '\0');  // no line: a file of zero bytes, or a device, has no end
  return file.read(begin.data(), std::ssize(begin)) && begin == kBegin;
}

bool has_checkpoint(const fs::path& folder) {
  std::error_code ignored;
  for (fs::directory_iterator it(folder / "checkpoints", ignored), end; it != end && !ignored;
       it.increment(ignored)) {
    const std::string name = it->path().filename();
    if ((name.starts_with("step_") || name.starts_with("mean_")) &&
        fs::exists(it->path() / "model.h5", ignored))
      return true;
  }
  return false;
}

/// Whether a run writes below this path.
bool is_entered(const std::string& path) {
  return path == "tensorboard" || path.starts_with("checkpoints");
}

/// The files and links of the folder, relative to it, and those of the folders that a run writes;
/// any other folder, and an empty one, stands for itself.
std::vector<std::string> leaves(const fs::path& folder) {
  using Iterator = fs::recursive_directory_iterator;
  std::vector<std::string> found;
  std::error_code code;
  if (!fs::exists(folder, code)) return found;
  Iterator it(folder, fs::directory_options::follow_directory_symlink, code);
  for (; !code && it != Iterator(); it.increment(code)) {
    const std::string path = it->path().lexically_relative(folder).string();
    std::error_code ignored;
    const bool entered = it->is_directory(ignored) && is_entered(path);
    if (!entered) it.disable_recursion_pending();
    if (!entered || fs::is_empty(it->path(), ignored)) found.push_back(path);
  }
  if (code) refuse(folder, "can't be read: " + reason(code));
  return found;
}

/// Removes the folders of a tree that hold no file.
void remove_empty(const fs::path& folder) {
  std::error_code ignored;
  std::vector<fs::path> below;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored))
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) below.push_back(entry.path());
  for (const fs::path& path : below) remove_empty(path);
  fs::remove(folder, ignored);
}

bool other_device(const fs::path& a, const fs::path& b) {
  struct stat one {
  }, two{};
  return stat(a.c_str(), &one) == 0 && stat(b.c_str(), &two) == 0 && one.st_dev != two.st_dev;
}

/// The first of stem.1, stem.2, … that is not there, made; or why it can't be.
std::pair<fs::path, std::error_code> make_numbered(const fs::path& stem) {
  for (int k = 1;; ++k) {
    const fs::path to = stem.string() + '.' + std::to_string(k);
    std::error_code code;
    if (fs::create_directory(to, code)) return {to, {}};
    if (code && code != std::errc::file_exists) return {to, code};
  }
}

}  // namespace

RunFolder::RunFolder(fs::path folder)
    : folder_(folder.has_filename() ? std::move(folder) : folder.parent_path()) {
  std::error_code code;
  if (fs::is_symlink(folder_, code)) {
    const fs::path to = fs::read_symlink(folder_, code);
    if (!fs::exists(folder_, code))
      refuse(folder_, "is a link to " + to.string() +
                          ", which is not there; make that folder or give another one");
    folder_ = fs::canonical(folder_, code);
  }
  if (fs::exists(folder_, code) && !fs::is_directory(folder_, code))
    refuse(folder_, "is a file; give a folder");
  if (fs::exists(folder_ / kManifest, code)) {
    patterns_ = lines_of(folder_ / kManifest);
    patterns_.push_back(kManifest);
  } else if (has_records(folder_ / "metrics.jsonl") || has_checkpoint(folder_)) {
    patterns_ = written();  // a program before the manifest
  }
}

bool RunFolder::holds_run() const {
  return !patterns_.empty() && (has_records(folder_ / "metrics.jsonl") || has_checkpoint(folder_));
}

std::string RunFolder::run_id() const {
  const auto lines = lines_of(folder_ / kRun);
  return is_own(kRun) && !lines.empty() ? lines.front() : "";
}

bool RunFolder::is_own(const std::string& path) const {
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0;
  });
}

std::vector<std::string> RunFolder::own() const {
  std::vector<std::string> mine;
  std::set<std::string> foreign;
  for (const std::string& path : leaves(folder_)) {
    if (is_own(path))
      mine.push_back(path);
    else
      foreign.insert(path);
  }
  // The highest folder of a path that holds nothing foreign and is no link.
  const auto top_of = [&](const std::string& path) {
    for (std::size_t cut = path.find('/'); cut != std::string::npos;
         cut = path.find('/', cut + 1)) {
      const std::string above = path.substr(0, cut);
      const auto next = foreign.lower_bound(above + '/');
      if (next != foreign.end() && next->starts_with(above + '/')) continue;
      std::error_code ignored;
      if (!fs::is_symlink(folder_ / above, ignored)) return above;
    }
    return path;
  };
  std::vector<std::string> tops;
  for (const std::string& path : mine) tops.push_back(top_of(path));
  std::sort(tops.begin(), tops.end());
  tops.erase(std::unique(tops.begin(), tops.end()), tops.end());
  // The manifest goes last: until then the folder is known as a run's.
  std::stable_partition(tops.begin(), tops.end(), [](const auto& p) { return p != kManifest; });
  return tops;
}

void RunFolder::move_into(const fs::path& target) const {
  std::vector<std::string> moved;
  for (const std::string& path : own()) {
    std::error_code code;
    fs::create_directories((target / path).parent_path(), code);
    if (!code) fs::rename(folder_ / path, target / path, code);
    if (!code) {
      moved.push_back(path);
      continue;
    }
    std::error_code ignored;
    for (const std::string& back : moved) fs::rename(target / back, folder_ / back, ignored);
    remove_empty(target);
    throw std::system_error(code, path);
  }
}

std::string RunFolder::set_aside() {
  std::error_code code;
  const bool mount = other_device(folder_, folder_.parent_path());
  auto [target, problem] = mount ? std::pair{fs::path(), std::make_error_code(std::errc::io_error)}
                                 : make_numbered(folder_);
  if (!problem) {
    try {
      move_into(target);
      patterns_.clear();
      return target.string();
    } catch (const std::system_error& error) {
      problem = error.code();  // a bind mount has its parent's device
    }
  }
  std::tie(target, problem) = make_numbered(folder_ / "earlier");
  if (problem)
    refuse(folder_, "holds a run that can't be set aside: " + target.string() + ": " +
                        reason(problem) + "; give another folder");
  try {
    move_into(target);
  } catch (const std::system_error& error) {
    refuse(folder_, "holds a run that can't be set aside: " + std::string(error.what()) +
                        "; give another folder");
  }
  patterns_.clear();
  return target.string();
}

void RunFolder::claim(const std::string& run_id) {
  const std::vector<std::string>& all = written();
  std::vector<std::string> mine = patterns_;
  for (const std::string& path : leaves(folder_)) {
    if (is_own(path)) continue;
    const bool in_the_way = std::any_of(all.begin(), all.end(), [&](const std::string& pattern) {
      return fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0;
    });
    if (in_the_way)
      refuse(folder_, "holds " + path +
                          ", which th_app did not write and would have to; move it, or give "
                          "another folder");
  }
  for (const std::string& pattern : all)
    if (std::find(mine.begin(), mine.end(), pattern) == mine.end()) mine.push_back(pattern);
  const auto write = [&](const char* name, const std::vector<std::string>& lines) {
    errno = 0;
    std::ofstream file(folder_ / name, std::ios::trunc);
    for (const std::string& line : lines) file << line << "\n";
    if (!file.flush())
      refuse(folder_ / name, std::string("can't be written: ") + std::strerror(errno));
  };
  write(kManifest, mine);
  write(kRun, {run_id});
  patterns_ = std::move(mine);
}

std::string make_run_id() {
  std::random_device source;
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string id;
  while (id.size() < 32) {
    unsigned bits = source();
    for (int k = 0; k < 8; ++k, bits >>= 4) id += kDigits[bits & 15];
  }
  return id;
}

}  // namespace th::io
