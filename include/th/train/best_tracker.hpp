#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// Which validations of a run were the best by valid.best_metric, and for how long there was none
/// better. A validation that a run's end makes beside the others counts for that end alone: a run
/// that goes on from there is one that never ended. The same on every rank, as far as it is given
/// the same values; not collective.
class BestTracker {
 public:
  explicit BestTracker(const config::RunConfig& config);

  /// Whether the deck asks for any of it.
  [[nodiscard]] bool active() const noexcept;
  /// Goes on from what a checkpoint holds, which was written by the deck `before`. Returns a line
  /// for the log where the values of this run can't be compared with those: the metric is another
  /// one, or is computed in another way. Nothing is known then.
  [[nodiscard]] std::string restore(const BestState& state, const config::RunConfig& before);
  /// At the end that wrote the checkpoint, of a run that does not go on.
  void restore_end(const std::optional<BestState>& end);
  /// Names the text whose translations and losses are compared, by a hash; "": there is none.
  /// Returns a line for the log where what was restored is of another text. Nothing is known then.
  [[nodiscard]] std::string compare_text(const std::string& hash);

  /// A validation, and how it came to be.
  struct Seen {
    std::int64_t step = 0;
    double value = 0;        ///< finite
    bool in_turn = true;     ///< not that of a run's end beside the others
    bool scheduled = false;  ///< this step is saved anyhow
  };
  struct Verdict {
    bool better = false;               ///< than all before
    bool save = false;                 ///< it is among the checkpoint.keep_best best
    std::vector<std::string> dropped;  ///< checkpoints that are no longer, and were saved for that
  };
  [[nodiscard]] Verdict observe(const Seen& seen);
  /// A validation in turn without a value of the metric: none that is better.
  void pass() { ++state_.without_better; }
  /// Whether valid.patience is over.
  [[nodiscard]] bool out_of_patience() const noexcept;
  /// Bare names of the best checkpoints, best first; then those that were before the end.
  [[nodiscard]] std::vector<std::string> kept() const;
  /// The value of a checkpoint of kept(), as the log writes it: "bleu 23.4000".
  [[nodiscard]] std::string value_text(const std::string& name) const;
  /// "the best bleu so far", "no better bleu for 2 validations (23.4000 at step 12)".
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const BestState& state() const noexcept { return state_; }
  /// With the validation of the end; empty where there was none.
  [[nodiscard]] const std::optional<BestState>& end() const noexcept { return end_; }

 private:
  [[nodiscard]] const BestState& now() const noexcept { return end_ ? *end_ : state_; }
  [[nodiscard]] bool better(double a, double b) const noexcept;

  /// Nothing is known any more, but for what the values are of.
  void forget();

  std::int64_t keep_, patience_;
  config::Better direction_;
  std::vector<std::pair<std::string, std::string>> definition_;  ///< config::metric_definition
  bool comparable_ = true;                                       ///< with what the checkpoint holds
  BestState state_;
  std::optional<BestState> end_;
};

}  // namespace th::train
