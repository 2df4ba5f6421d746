#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// Which validations of a run were the best by valid.best_metric, and for how long there was none
/// better. The same on every rank, as far as it is given the same values; not collective.
class BestTracker {
 public:
  explicit BestTracker(const config::RunConfig& config);

  /// Whether the deck asks for any of it.
  [[nodiscard]] bool active() const noexcept;
  /// Goes on from what a checkpoint holds. Returns a line for the log where that is of another
  /// metric, and nothing is known then.
  [[nodiscard]] std::string restore(const BestState& state);

  /// A validation, and how it came to be.
  struct Seen {
    std::int64_t step = 0;
    double value = 0;        ///< finite
    bool in_turn = true;     ///< not the one that a run's end makes beside the others
    bool scheduled = false;  ///< this step is saved anyhow
  };
  struct Verdict {
    bool better = false;               ///< than all before
    bool save = false;                 ///< it is among the checkpoint.keep_best best
    std::vector<std::string> dropped;  ///< checkpoints that are no longer, and were saved for that
  };
  [[nodiscard]] Verdict observe(const Seen& seen);
  /// Whether valid.patience is over.
  [[nodiscard]] bool out_of_patience() const noexcept;
  /// Bare names of the best checkpoints, best first.
  [[nodiscard]] std::vector<std::string> kept() const;
  /// The value of a checkpoint of kept(), as the log writes it: "bleu 23.4000".
  [[nodiscard]] std::string value_text(const std::string& name) const;
  /// "the best bleu so far", "no better bleu for 2 validations (23.4000 at step 12)".
  [[nodiscard]] std::string text() const;
  [[nodiscard]] const BestState& state() const noexcept { return state_; }

 private:
  [[nodiscard]] bool better(double a, double b) const noexcept;

  std::int64_t keep_, patience_;
  config::Better direction_;
  BestState state_;
};

}  // namespace th::train
