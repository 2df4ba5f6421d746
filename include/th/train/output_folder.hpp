#pragma once

#include <string>

#include "th/base/log.hpp"
#include "th/config/run_config.hpp"
#include "th/io/folder_lock.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// run.output_dir of one run: its lock, and the run whose results it holds. Rank 0 alone; nothing
/// here is collective.
class OutputFolder {
 public:
  OutputFolder(const config::RunConfig& config, Log& log) : config_(config), log_(log) {}

  /// If the folder exists, takes its lock. Waits a few seconds for a run that is about to end.
  /// Throws DeckError if another run holds the lock.
  void take();
  /// The id of the run whose results the folder holds; empty if there is none.
  [[nodiscard]] std::string run_id() const;
  /// Prepares the folder for a run that begins or goes on. Decides on its id (`state.run`, and
  /// `state.parent` if it comes from another run), sets an earlier run aside if this one begins,
  /// and claims the folder. `checkpoint` is the folder from which a resume goes on; empty: none.
  /// Throws DeckError with the system's reason, and if the folder holds another run than the
  /// checkpoint's.
  void prepare(RunState& state, const std::string& checkpoint);

 private:
  void branch(RunState& state, const std::string& checkpoint, bool occupied) const;
  const config::RunConfig& config_;
  Log& log_;
  io::FolderLock lock_;
};

}  // namespace th::train
