#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/base/log.hpp"
#include "th/config/deck.hpp"
#include "th/data/dataset.hpp"
#include "th/data/loader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/monitor/metrics.hpp"
#include "th/monitor/progress.hpp"
#include "th/monitor/progress_text.hpp"
#include "th/monitor/tensorboard.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/watched_collectives.hpp"
#include "th/train/best_tracker.hpp"
#include "th/train/checkpointing.hpp"
#include "th/train/loss_scale.hpp"
#include "th/train/output_folder.hpp"
#include "th/train/overlap.hpp"
#include "th/train/run_device.hpp"
#include "th/train/run_state.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/train/training_data.hpp"
#include "th/train/validation.hpp"
#include "th/train/watch/memory_watch.hpp"
#include "th/train/watch/profile.hpp"
#include "th/train/watch/step_watch.hpp"
#include "th/train/watch/stop_requests.hpp"
#include "th/train/watch/verdict.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

class Audit;

/// A run of the loop: data, model, engine, checkpoints and reports, put together from a checked
/// deck. All ranks make one and call run().
class Trainer {
 public:
  /// Opens the data, prepares the output folder, builds the engine on `device`, whose transport
  /// `collectives` watches, resumes. Collective. Throws the same Error on every rank.
  Trainer(const config::LoadedDeck& deck, const RunDevice& device,
          runtime::WatchedCollectives& collectives, runtime::Watchdog& watchdog,
          const runtime::Communicator& node, Log& log);
  ~Trainer();

  /// Trains to the end, or to a stop signal or the time limit with a checkpoint. Collective.
  /// Returns the process' exit code.
  [[nodiscard]] int run();

 private:
  using Clock = std::chrono::steady_clock;
  struct Totals {
    std::int64_t timed_tokens = 0, real_tokens = 0, padded_tokens = 0, score_cells = 0,
                 padded_score_cells = 0, steps = 0;
    double timed_seconds = 0, seconds = 0;
  };
  /// What the ranks agree on at a step border.
  struct Border {
    std::string stop;           ///< why the run has to stop; empty: it has not
    bool checkpoint = false;    ///< SIGUSR2
    bool writers_done = false;  ///< the save in flight is complete on every rank
    bool note_failed = false;   ///< rank 0 could not write a record
  };

  void open_data(const runtime::Communicator& node);
  void open_initial();
  /// The ratio of local cross attention: the checkpoint's, else the corpus's.
  void resolve_ratio();
  void resolve_slots();
  void open_checkpoint();
  void open_saver();
  void prepare_output();
  void open_audit();
  /// What the engine is made of. Throws where it can't be, or doesn't fit into the memory that the
  /// ranks of a node have.
  [[nodiscard]] zero::PlanRequest plan_engine(config::Overlap overlap, int ranks_of_node);
  void build_engine(const OverlapChoice& choice, zero::PlanRequest request);
  /// While the engine lives, collectives follow its stream, and a hang leaves what each rank did
  /// last in the output folder.
  void watch_engine();
  void resume();
  void check_probe();
  /// Warns where the next step's rate is another one by this deck than by the checkpoint's.
  void compare_rates();
  void open_monitors();
  void print_sizes();

  [[nodiscard]] bool finished() const;
  /// Resumed from a checkpoint after which the test set alone was to be translated.
  [[nodiscard]] bool trained_before() const {
    return finished() && state_.exit == RunState::kTrained;
  }
  /// Finished, and the test set is translated. Collective.
  [[nodiscard]] bool completed();
  [[nodiscard]] int run_to_the_end();
  /// A step that was enqueued and whose result nobody has read.
  struct UnderWay {
    std::int64_t step = 0;  ///< from 1
    double lr = 0;
    Clock::time_point start;
    std::int64_t source_tokens = 0, target_tokens = 0, padded_tokens = 0, score_cells = 0,
                 padded_score_cells = 0;
  };
  /// Enqueues a step and reads the result of the one before, where a GPU runs ahead of the host;
  /// else its own.
  void train_step();
  /// Reads the result of the earliest step under way: records, and the verdict on it.
  void finish_step();
  /// Of all of them: what follows needs the state that they leave.
  void finish_steps();
  [[nodiscard]] data::StepBatches next_batches();
  /// All ranks have the same loss and norm, so each ends the run with this error. Collective.
  [[noreturn]] void give_up(const std::string& numerics);
  /// An audit found a rank that differs: each ends the run with this error. Collective.
  [[noreturn]] void end_by_audit(const std::string& found);
  /// What a loss or gradients that are not finite mean: a skipped step with fp16's loss scale, else
  /// the end by give_up().
  void judge(std::int64_t step, double loss, const zero::StepResult& result);
  /// Whether train.on_not_finite=skip passes over a step with this loss and gradient norm.
  [[nodiscard]] bool skips(double loss, double grad_norm) const;
  void skip_step(std::int64_t step, const std::string& where);
  /// Keeps the step that ends the run, and the parameters before it, for th_app --replay, where the
  /// run writes checkpoints. What can't be written is a warning. Collective.
  void keep_bad_step();
  void write_bad_step();
  [[nodiscard]] bool scales_loss() const {
    return config_.precision.dtype == config::Precision::kFp16;
  }
  void show_progress(double loss, double seconds);
  /// The run's last step, as far as steps and epochs say; 0: not known.
  [[nodiscard]] std::int64_t last_step() const;
  /// 0: it has no end.
  [[nodiscard]] std::int64_t steps_of_the_epoch() const;
  [[nodiscard]] std::int64_t memory_in_use() const;
  /// TensorBoard's points of a step.
  void note_step(std::int64_t step, double loss, double grad_norm, double lr, double rate,
                 double scale);
  /// TensorBoard's point of a phase that began at `start`; its seconds.
  double note_seconds(const char* phase, Clock::time_point start);
  /// Why the run took the time that it took, in the log, where it had enough steps to tell.
  void say_verdict();
  /// Begins to look at the time of steps. Collective.
  void open_watch();
  /// What this rank's main thread has spent in collectives and in waiting for its communication.
  [[nodiscard]] double seconds_in_others() const;
  /// What its communication thread has spent in collectives without that anybody waited.
  [[nodiscard]] double seconds_beside() const;
  /// Takes the times that all ranks had in the last step.
  void watch_step(std::span<const StepTimes> ranks);
  /// Rank 0 prints what other ranks have warned of. Collective.
  void gather_warnings();
  [[nodiscard]] RunParts parts();
  /// Empty where the run has to stop before its end. Collective, as what follows.
  [[nodiscard]] std::optional<Validation> validate();
  /// Logs and records what a validation found beside the loss.
  void report(const Validation& validation);
  /// Takes the validation of this step, if there was one, for valid.patience and
  /// checkpoint.keep_best. `scheduled`: the step is saved anyhow. Whether it is to be saved.
  [[nodiscard]] bool take_validation(bool scheduled, bool in_turn);
  /// Writes checkpoints/mean_… where the deck asks for one, and checkpoints/final. Collective.
  void choose_final();
  [[nodiscard]] std::vector<std::unique_ptr<io::CheckpointReader>> checkpoints_to_average();
  /// What the run gives, and its test. False where the run has to stop before its end. Collective.
  [[nodiscard]] bool give_final();
  /// Brings the parameters of `final` into the engine, where others are there. Collective.
  void load_final();
  void report_memory();
  /// Rank 0 writes for people and plots. An error waits for agree() or settle_notes(), where all
  /// ranks learn of it, and nothing is written after it.
  void note(const std::function<void()>& write);
  /// Throws what a note could not write, on every rank. Collective.
  void settle_notes();
  void say(const std::string& text);
  /// A warning that all ranks know of, printed by rank 0.
  void warn(const std::string& text);
  /// Whether its validation came to its end; else the state is as before it.
  [[nodiscard]] bool end_epoch();
  /// Whether train.valid_every_steps asks for a validation after this step.
  [[nodiscard]] bool validates_now() const;
  /// A stop came in the validation at an epoch's end: the epoch's record is missing.
  [[nodiscard]] bool epoch_end_due() const;
  /// Whether a rank has to stop; what asked for it is in stopping_. Collective.
  [[nodiscard]] bool stop_asked();
  void say_why_it_stops();
  void train_one();
  [[nodiscard]] Border agree();
  void save();
  [[nodiscard]] io::CheckpointInfo checkpoint_info(const RunState& state) const;
  /// Before an error that has nothing to do with the state: no step is lost with it where a
  /// checkpoint can be written. Collective.
  void save_what_can_be();
  [[nodiscard]] double probe();
  [[nodiscard]] bool validate_in_between();
  [[nodiscard]] bool translate_test_set();
  void write_summary(const std::string& exit, const std::string& reason);
  /// The part of the positions in its batches that is padding.
  [[nodiscard]] double padding() const;
  [[nodiscard]] bool saving() const;
  /// Of the memory that the tensors are in.
  [[nodiscard]] const runtime::MemoryLedger& ledger() const;
  [[nodiscard]] bool is_root() const { return collectives_.rank() == 0; }

  config::LoadedDeck deck_;
  config::RunConfig& config_;
  ShardedChoice decoding_;
  const RunDevice& device_;
  runtime::WatchedCollectives& collectives_;
  runtime::Watchdog& watchdog_;
  Log& log_;
  OutputFolder output_;  ///< rank 0's
  std::string checkpoints_;
  std::string identity_;
  TrainingData data_;
  data::Dataset dataset_;
  std::shared_ptr<const data::StepSource> source_;
  std::unique_ptr<data::BatchLoader> loader_;
  data::Batch probe_batch_;  ///< whose loss proves a resume; empty without a corpus
  std::string probe_hash_;   ///< of its ids
  std::unique_ptr<model::Transformer> model_;
  std::unique_ptr<zero::ZeroEngine> engine_;
  std::shared_ptr<void> engine_watch_;  ///< ends before the engine does
  std::unique_ptr<Audit> audit_;
  std::unique_ptr<CheckpointSaver> saver_;
  std::unique_ptr<Validator> validator_;  ///< null: there is no validation text
  BestTracker tracker_;
  bool validated_now_ = false;        ///< until take_validation()
  std::optional<double> to_take_;     ///< of this step's validation, until take_validation()
  std::vector<std::string> dropped_;  ///< until the next save
  /// What the run gives in the end; empty: nothing was saved.
  struct Final {
    std::string name;  ///< bare
    std::string why;   ///< "the best: bleu 23.4000"
    std::int64_t step = 0;
    bool loaded = false;  ///< its parameters are in the engine, in place of the run's
  } final_;
  std::unique_ptr<io::CheckpointReader> reader_;
  std::vector<std::string> damaged_;  ///< checkpoints that a resume passed over, bare names
  std::unique_ptr<monitor::MetricsWriter> metrics_;
  std::unique_ptr<monitor::TensorboardWriter> tensorboard_;
  std::unique_ptr<monitor::Progress> progress_;
  std::unique_ptr<MemoryWatch> memory_;
  std::unique_ptr<Profile> profile_;  ///< null: profile.enabled is false
  /// Of checkpoint.init_from, until its parameters are loaded.
  std::unique_ptr<io::CheckpointReader> initial_;
  monitor::LinePace pace_;
  StepTimes times_;                ///< of this rank's last step
  bool times_were_taken_ = false;  ///< since the last border
  RunFacts facts_{config_};
  TimeUse use_;  ///< of the steps behind run.warmup_steps
  std::unique_ptr<StragglerWatch> stragglers_;
  LossWatch losses_;
  Clock::time_point began_;  ///< the first step
  StopRequests stop_;
  std::string stopping_;          ///< why the run stops; empty: it does not
  bool completed_ = false;        ///< nothing is to be done, and nothing was opened
  bool other_precision_ = false;  ///< the checkpoint was written with another precision.dtype
  LossScale loss_scale_;
  RunState state_;
  Totals totals_;
  std::deque<UnderWay> under_way_;
  /// The last step whose loss and norm were looked at.
  struct Judged {
    std::int64_t step = 0;
    double loss = 0, grad_norm = 0, loss_scale = 1;
    std::string not_finite;
  } last_judged_;
  double longest_step_ = 0;        ///< seconds: the next one ends before the time limit too
  Clock::time_point last_result_;  ///< when the last result was read
  std::int64_t total_steps_ = 0;
  std::int64_t saved_step_ = -1, validated_step_ = -1;
  std::int64_t rss_before_model_ = 0;
  std::exception_ptr note_failure_;
};

}  // namespace th::train
