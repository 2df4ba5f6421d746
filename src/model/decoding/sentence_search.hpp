#pragma once

#include <cstdint>
#include <vector>

#include "model/decoding/search_rules.hpp"
#include "model/decoding/step_scores.hpp"
#include "th/model/decoding/decoding.hpp"

namespace th::model {

/// The search for one sentence, a position at a time: the forced prefix, then beam search or draws.
class SentenceSearch {
 public:
  struct Live {
    std::vector<std::int32_t> ids;
    double log_prob = 0;
    std::int64_t parent = 0;  ///< the row of the last step that it continues
    std::int64_t draw = 0;    ///< which of the sentence's draws it is
  };

  /// `rules` are used until the search's end. `longest`: ids of the longest translation; `place`:
  /// of the sentence in its batch.
  SentenceSearch(const SearchRules& rules, SentenceOptions sentence, std::int64_t longest,
                 std::int64_t place);
  /// The most that the search for one sentence keeps, and takes beside that while it takes a step,
  /// of what a ledger counts: but for thousands of ids that are barred, or forced.
  struct Bytes {
    std::int64_t kept, of_step;
  };
  [[nodiscard]] static Bytes bytes(const SearchOptions& options, std::int64_t vocabulary,
                                   std::int64_t longest);
  [[nodiscard]] const std::vector<Live>& live() const noexcept { return live_; }
  /// Best first. After the search.
  [[nodiscard]] std::vector<Hypothesis> finished() && { return std::move(finished_); }

  /// Continues the live hypotheses, which are the rows from `first` on.
  void advance(const StepScores& scores, std::int64_t first);
  /// Ends the live hypotheses where they stand.
  void end_all(const StepScores& scores, std::int64_t first);

 private:
  struct Candidate {
    double log_prob;
    std::size_t from;  ///< index of the live hypothesis
    std::int32_t id;
  };

  void follow_prefix(const StepScores& scores, std::int64_t first);
  void draw(const StepScores& scores, std::int64_t first);
  void search(const StepScores& scores, std::int64_t first);
  [[nodiscard]] std::vector<Candidate> best_candidates(const StepScores& scores,
                                                       std::int64_t first) const;
  void finish(const std::vector<std::int32_t>& ids, double log_prob);
  /// The draws that a live hypothesis stands for: all of them until the first id is drawn.
  [[nodiscard]] std::int64_t draws_of_each() const;

  const SearchRules& rules_;
  const SearchOptions& options_;
  SentenceOptions sentence_;
  double longest_penalty_;
  bool drawn_ = false;                ///< whether each draw has a hypothesis of its own
  std::vector<Live> live_;            ///< by falling log p; of sampling by draw
  std::vector<Hypothesis> finished_;  ///< the best, by falling score
};

}  // namespace th::model
