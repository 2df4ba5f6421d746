#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/trainer/run_report.hpp"
#include "train/trainer/run_saver.hpp"
#include "train/trainer/session.hpp"

namespace th::train {

/// What a run gives in the end: the mean of its last checkpoints, else the best, else the newest,
/// and its test. All calls are collective.
class FinalResult {
 public:
  FinalResult(Session& session, RunReport& report, RunSaver& saver)
      : session_(session),
        run_(session.run),
        config_(session.run.config),
        report_(report),
        saver_(saver) {}

  /// False where the run has to stop before its end.
  [[nodiscard]] bool give();

 private:
  /// Writes checkpoints/mean_… where the deck asks for one, and checkpoints/final.
  void choose();
  void average(const std::vector<std::unique_ptr<io::CheckpointReader>>& readers);
  [[nodiscard]] std::vector<std::unique_ptr<io::CheckpointReader>> checkpoints_to_average();
  /// Brings its parameters into the engine, where others are there.
  void load();
  [[nodiscard]] bool translate_test_set();
  /// Writes test.hyp, and brings the lines that the scores are of into their order. Rank 0.
  void write_lines(std::vector<std::string>& lines, std::vector<std::string>& references);

  Session& session_;
  RunContext& run_;
  const config::RunConfig& config_;
  RunReport& report_;
  RunSaver& saver_;
  std::string name_;  ///< bare; empty: nothing was saved
  std::string why_;   ///< "the best: bleu 23.4000"
  std::int64_t step_ = 0;
  bool loaded_ = false;  ///< its parameters are in the engine, in place of the run's
};

}  // namespace th::train
