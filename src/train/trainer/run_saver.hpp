#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/trainer/run_report.hpp"
#include "train/trainer/session.hpp"

namespace th::train {

/// Saves the checkpoints of a run with what they say of it. The results of all steps are read
/// before. All calls are collective unless they say otherwise.
class RunSaver {
 public:
  RunSaver(Session& session, RunReport& report)
      : session_(session), report_(report), saved_step_(session.resumed.saved_step) {}

  void save();
  /// Waits until the save in flight is complete.
  void finish() { session_.saver->finish(); }
  /// Whether the state of now is saved, or is about to be. Not collective.
  [[nodiscard]] bool is_saved() const noexcept { return saved_step_ == session_.state.step; }
  /// Checkpoints that the next save removes: they are among the best no longer. Not collective.
  void drop(const std::vector<std::string>& names) {
    dropped_.insert(dropped_.end(), names.begin(), names.end());
  }

 private:
  Session& session_;
  RunReport& report_;
  std::int64_t saved_step_;           ///< -1: none
  std::vector<std::string> dropped_;  ///< until the next save
};

}  // namespace th::train
