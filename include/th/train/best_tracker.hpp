#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// Tracks which validations of a run were the best by valid.best_metric, and since when none was
/// better. An extra validation at a run's end counts for that end alone, so that a run that goes on
/// from there is as if it had never ended. Ranks that are given the same values have the same
/// results; not collective.
class BestTracker {
 public:
  explicit BestTracker(const config::RunConfig& config);

  /// Whether the deck asks for any of this.
  [[nodiscard]] bool active() const noexcept;
  /// Goes on from a checkpoint's state, which a run with the deck `before` wrote. If values of this
  /// run can't be compared with those, because the metric is another one or is computed in another
  /// way, forgets them and returns a line for the log.
  [[nodiscard]] std::string restore(const BestState& state, const config::RunConfig& before);
  /// Restores the state at the end that wrote the checkpoint, for a run that does not go on.
  void restore_end(const std::optional<BestState>& end);
  /// Says by a hash which text the values are computed on; "": there is none. If the restored state
  /// is of another text, forgets it and returns a line for the log.
  [[nodiscard]] std::string compare_text(const std::string& hash);

  /// A validation, and why it was made.
  struct Seen {
    std::int64_t step = 0;
    double value = 0;        ///< finite
    bool in_turn = true;     ///< false: the extra one at a run's end
    bool scheduled = false;  ///< this step is saved in any case
  };
  struct Verdict {
    bool better = false;               ///< than all before
    bool save = false;                 ///< it is among the checkpoint.keep_best best
    std::vector<std::string> dropped;  ///< no longer among the best, and saved only for that
  };
  [[nodiscard]] Verdict observe(const Seen& seen);
  /// Counts a regular validation without a value of the metric as one that is not better.
  void pass() { ++state_.without_better; }
  /// Whether valid.patience has run out.
  [[nodiscard]] bool out_of_patience() const noexcept;
  /// Bare names of the best checkpoints, best first; then those that were the best before the end.
  [[nodiscard]] std::vector<std::string> kept() const;
  /// The log's text for the value of a checkpoint of kept(): "bleu 23.4000".
  [[nodiscard]] std::string value_text(const std::string& name) const;
  /// "the best bleu so far", "no better bleu for 2 validations (23.4000 at step 12)".
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const BestState& state() const noexcept { return state_; }
  /// The state with the extra validation of the end; empty if there was none.
  [[nodiscard]] const std::optional<BestState>& end() const noexcept { return end_; }

 private:
  [[nodiscard]] const BestState& now() const noexcept { return end_ ? *end_ : state_; }
  [[nodiscard]] bool better(double a, double b) const noexcept;

  /// Forgets all values, but not what they are values of.
  void forget();

  std::int64_t keep_, patience_;
  config::Better direction_;
  std::vector<std::pair<std::string, std::string>> definition_;  ///< config::metric_definition
  bool comparable_ = true;                                       ///< with what the checkpoint holds
  BestState state_;
  std::optional<BestState> end_;
};

}  // namespace th::train
