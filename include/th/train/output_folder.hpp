#pragma once

#include <string>

#include "th/base/log.hpp"
#include "th/config/run_config.hpp"
#include "th/io/folder_lock.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// run.output_dir of one run: its lock, and whose results are there. Rank 0 alone; nothing here is
/// collective.
class OutputFolder {
 public:
  OutputFolder(const config::RunConfig& config, Log& log) : config_(config), log_(log) {}

  /// Takes the folder's lock where the folder is there. Waits a few seconds for a run that is about
  /// to end. Throws DeckError where another run has it.
  void take();
  /// The id of the run whose results are there; empty where there is none.
  [[nodiscard]] std::string run_id() const;
  /// A run begins or goes on here: decides on its id (`state.run`, and `state.parent` where it
  /// comes from another run), sets an earlier run aside where this one begins, and claims the
  /// folder. `checkpoint` is the folder that a resume goes on from; empty: none. Throws DeckError
  /// with the system's reason, and where the folder holds another run than the checkpoint's.
  void prepare(RunState& state, const std::string& checkpoint);

 private:
  void branch(RunState& state, const std::string& checkpoint, bool occupied) const;
  const config::RunConfig& config_;
  Log& log_;
  io::FolderLock lock_;
};

}  // namespace th::train
