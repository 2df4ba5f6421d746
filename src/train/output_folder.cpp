#include "th/train/output_folder.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "th/base/error.hpp"
#include "th/io/run_folder.hpp"

namespace th::train {

namespace {

namespace fs = std::filesystem;

bool is_below(const fs::path& path, const fs::path& folder) {
  std::error_code code;
  const fs::path inner = fs::weakly_canonical(path, code),
                 outer = fs::weakly_canonical(folder, code);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

void make_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code)
    throw DeckError("run.output_dir: " + folder.string() + " can't be made: " + code.message() +
                    "; give a folder that can, as in run.output_dir=/scratch/run1");
}

}  // namespace

void OutputFolder::take() {
  // The other ranks wait meanwhile, and that is no hang.
  const double limit = config_.comm.timeout_seconds;
  const std::chrono::duration<double> patience(limit > 0 ? std::min(5.0, limit / 2) : 5.0);
  while (!lock_.holds(config_.run.output_dir)) {
    lock_ = {};
    io::FolderLock lock(config_.run.output_dir, patience);
    if (!lock.holds()) return;
    lock_ = std::move(lock);  // the folder may have got another name while this one waited
  }
}

std::string OutputFolder::run_id() const { return io::RunFolder(config_.run.output_dir).run_id(); }

void OutputFolder::branch(RunState& state, const std::string& checkpoint, bool occupied) const {
  const std::string& folder = config_.run.output_dir;
  if (is_below(checkpoint, folder))
    throw DeckError("checkpoint.branch: the checkpoint " + checkpoint + " is of the run in " +
                    folder + " itself; give the branch a run.output_dir of its own");
  state.parent = state.run;
  state.run = io::make_run_id();
  log_.info("A new run branches from " + checkpoint + ": run " + state.run +
            (state.parent.empty() ? "" : ", its parent " + state.parent) +
            (occupied ? "." : ", in " + folder + "."));
}

void OutputFolder::prepare(RunState& state, const std::string& checkpoint) {
  const fs::path path = config_.run.output_dir;
  io::RunFolder folder(path);  // a link that leads nowhere is told before it is followed
  make_folder(path);
  take();
  const bool occupied = folder.holds_run();
  const bool branches = !checkpoint.empty() && config_.checkpoint.branch;
  if (checkpoint.empty()) {
    state.run = io::make_run_id();
  } else if (branches) {
    branch(state, checkpoint, occupied);
  } else {
    const std::string there = folder.run_id();
    const bool other = !there.empty() && !state.run.empty() && there != state.run;
    const bool untold = (there.empty() || state.run.empty()) && !is_below(checkpoint, path);
    if (occupied && (other || untold))
      throw DeckError("run.output_dir: " + path.string() + " holds another run" +
                      (there.empty() ? "" : " (" + there + ")") + " than the checkpoint " +
                      checkpoint + (state.run.empty() ? "" : " (" + state.run + ")") +
                      "; give another folder, or set checkpoint.branch=true to begin a run of its "
                      "own from it");
    if (state.run.empty()) state.run = there.empty() ? io::make_run_id() : there;
  }
  const bool fresh = config_.checkpoint.resume == config::Resume::kNone || branches;
  if (fresh && occupied)
    log_.info("The earlier run in " + path.string() + " is now in " + folder.set_aside() + ".");
  folder.claim(state.run);
}

}  // namespace th::train
