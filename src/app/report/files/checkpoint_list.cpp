#include "app/report/files/checkpoint_list.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>

#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/train/run_state.hpp"

namespace th::app {

namespace {

namespace fs = std::filesystem;

std::string time_of(const std::string& path) {
  struct stat about {};
  std::tm local{};
  if (stat(path.c_str(), &about) != 0 || localtime_r(&about.st_mtime, &local) == nullptr) return "";
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return text.data();
}

CheckpointLine line_of(const fs::path& path) {
  CheckpointLine line;
  line.name = path.filename().string();
  std::error_code code, ignored;
  for (fs::directory_iterator it(path, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    const std::uintmax_t bytes = it->file_size(ignored);
    if (!ignored) line.bytes += static_cast<std::int64_t>(bytes);
    line.shards += name.starts_with("shard_") ? 1 : 0;
    line.complete = line.complete || name == "model.h5";
  }
  line.written = time_of(path / "model.h5");
  return line;
}

void read_newest(const std::string& path, CheckpointList& list) {
  try {
    const io::CheckpointReader reader(path);
    const io::CheckpointInfo& info = reader.info();
    list.read = fs::path(reader.folder()).filename().string();
    list.build = info.build;
    list.identity = info.identity;
    list.run = info.run;
    list.step = info.step;
    list.world_size = info.world_size;
    list.zero_stage = info.zero_stage;
    list.parent = train::run_state_from_json(info.state_json).parent;
  } catch (const Error& error) {
    list.trouble = error.what();
  }
}

}  // namespace

CheckpointList read_checkpoints(const std::string& folder) {
  CheckpointList list;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("step_") || name.starts_with("mean_"))
      list.lines.push_back(line_of(it->path()));
  }
  std::sort(list.lines.begin(), list.lines.end(), [](const auto& a, const auto& b) {
    const auto number = [](const std::string& name) { return name.substr(name.find('_')); };
    return std::pair(number(a.name), a.name) < std::pair(number(b.name), b.name);
  });
  std::string newest;
  for (const char* mark : {io::kLatest, io::kBest, io::kFinal}) {
    const std::string name = io::read_name(folder, mark);
    for (CheckpointLine& line : list.lines) {
      if (line.name != name) continue;
      line.marks += (line.marks.empty() ? "" : ", ") + std::string(mark);
      if (mark == io::kLatest && line.complete) newest = name;
    }
  }
  for (const CheckpointLine& line : list.lines)
    if (newest.empty() && line.complete) newest = line.name;
  if (!newest.empty()) read_newest(folder + "/" + newest, list);
  return list;
}

}  // namespace th::app
