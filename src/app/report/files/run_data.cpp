#include "app/report/files/run_data.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "app/report/files/test_lines.hpp"
#include "th/base/error.hpp"

namespace th::app {

namespace {

namespace fs = std::filesystem;

bool holds_run(const fs::path& folder) {
  std::error_code code;
  return fs::is_regular_file(folder / "metrics.jsonl", code);
}

/// "; runs are below it: a, b": for who gave the folder above.
std::string runs_below(const fs::path& folder) {
  constexpr std::size_t kMost = 5;
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (holds_run(it->path())) names.push_back(it->path().string());
  std::sort(names.begin(), names.end());
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i)
    text += (i == 0 ? "; runs are below it: " : ", ") + names[i];
  return text + (names.size() > kMost ? ", …" : "");
}

void require_run(const std::string& path) {
  std::error_code code;
  if (holds_run(path)) return;
  if (!fs::exists(path, code)) throw DataError(path + ": there is no such folder");
  if (!fs::is_directory(path, code))
    throw DataError(path + ": is no folder; give a run's folder, its run.output_dir");
  throw DataError(path + ": holds no run of th_app: there is no metrics.jsonl" + runs_below(path));
}

/// Whether a process of this host holds a lock on the folder, as th_app does while it runs:
/// "1: FLOCK ADVISORY WRITE 123 08:01:456 0 EOF". The folder itself is not touched.
bool is_held(const std::string& folder) {
  struct stat about {};
  if (stat(folder.c_str(), &about) != 0) return false;
  const std::string end = std::string(":").append(std::to_string(about.st_ino));
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, advisory, access, pid, place;
    words >> number >> kind >> advisory >> access >> pid >> place;
    if (kind == "FLOCK" && place.ends_with(end)) return true;
  }
  return false;
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<std::string> traces_of(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name == "trace.json" || (name.starts_with("bad_step_") && name.ends_with(".json")) ||
        (name.starts_with("flight_record.") && name.ends_with(".jsonl")))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

RunData read_run(const std::string& path) {
  RunData run;
  run.path = path;
  const fs::path folder = path;
  run.under_way = is_held(path);
  run.metrics = read_metrics((folder / "metrics.jsonl").string());
  run.events = read_event_files((folder / "tensorboard").string());
  run.log = read_run_log((folder / "run.log").string());
  run.deck = read_deck_file((folder / "resolved.in").string());
  run.checkpoints = read_checkpoints((folder / "checkpoints").string());
  run.id = first_line(folder / "run");
  if (run.id.empty() && run.metrics.summary) run.id = run.metrics.summary->run;
  if (run.id.empty()) run.id = run.checkpoints.run;
  if (run.id == run.checkpoints.run) run.parent = run.checkpoints.parent;
  run.traces = traces_of(folder);
  TestLines test = read_test_lines((folder / "test.hyp").string(), run.deck);
  run.test = std::move(test.first);
  run.test_lines = test.count;
  return run;
}

/// Each run's folder name, with as many of the folders above it as tell it from the others.
std::vector<std::string> names_of(const std::vector<fs::path>& folders) {
  std::vector<std::string> names(folders.size());
  for (std::size_t depth = 1; depth < 64; ++depth) {
    std::map<std::string, int> uses;
    for (std::size_t i = 0; i < folders.size(); ++i) {
      fs::path name, rest = folders[i];
      for (std::size_t d = 0; d < depth && rest.has_relative_path(); ++d) {
        name = name.empty() ? rest.filename() : rest.filename() / name;
        rest = rest.parent_path();
      }
      names[i] = name.string();
      ++uses[names[i]];
    }
    if (uses.size() == folders.size()) break;
  }
  return names;
}

double largest(const std::vector<std::int64_t>& bytes) {
  return bytes.empty() ? 0 : static_cast<double>(*std::max_element(bytes.begin(), bytes.end()));
}

}  // namespace

std::string RunData::end() const {
  if (under_way) return "under way";
  if (metrics.summary) return metrics.summary->exit.empty() ? "ended" : metrics.summary->exit;
  return "no end recorded";
}

std::string RunData::reason() const {
  if (metrics.summary && !metrics.summary->reason.empty()) return metrics.summary->reason;
  if (under_way) return "";
  if (!log.error.empty()) return log.error;
  if (metrics.summary) return log.stopping;
  return "the run was killed, its machine failed, or it goes on at another host";
}

std::int64_t RunData::ranks() const {
  if (metrics.summary && !metrics.summary->planned_bytes.empty())
    return std::ssize(metrics.summary->planned_bytes);
  return checkpoints.world_size;
}

std::string RunData::identity() const {
  return log.identity.empty() ? checkpoints.identity : log.identity;
}

double RunData::planned_bytes() const {
  if (metrics.summary && !metrics.summary->planned_bytes.empty())
    return largest(metrics.summary->planned_bytes);
  return log.memory.empty() ? 0 : log.memory.front().planned;
}

double RunData::measured_bytes() const {
  if (metrics.summary && !metrics.summary->measured_bytes.empty())
    return largest(metrics.summary->measured_bytes);
  return log.memory.empty() ? 0 : log.memory.front().measured;
}

std::vector<RunData> read_runs(const std::vector<std::string>& paths) {
  std::vector<fs::path> folders;
  for (const std::string& path : paths) {
    require_run(path);
    folders.push_back(fs::canonical(path));
    if (std::count(folders.begin(), folders.end(), folders.back()) > 1)
      throw DeckError(path + ": is given twice");
  }
  const std::vector<std::string> names = names_of(folders);
  std::vector<RunData> runs;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    runs.push_back(read_run(paths[i]));
    runs.back().name = names[i];
  }
  return runs;
}

}  // namespace th::app
