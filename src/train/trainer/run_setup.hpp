#pragma once

#include <memory>

#include "th/runtime/transport/mpi.hpp"
#include "th/train/overlap.hpp"
#include "train/trainer/session.hpp"

namespace th::train {

/// Puts a session together: checkpoint, data, output folder, model, engine, and what a resume
/// brings back. Collective throughout; throws the same Error on every rank.
class RunSetup {
 public:
  RunSetup(Session& session, const runtime::Communicator& node);

  /// False where the run is complete already: then nothing was opened.
  [[nodiscard]] bool open();

 private:
  /// Chooses the checkpoint to go on from.
  void open_checkpoint();
  /// Takes the state from it.
  void restore_state();
  /// Finished, and the test set is translated.
  [[nodiscard]] bool is_complete();
  void resolve_slots();
  void open_data();
  void require_same_corpus();
  void open_initial();
  /// The ratio of local cross attention: the checkpoint's, else the corpus's.
  void resolve_ratio();
  void prepare_output();
  /// What the engine is made of. Throws where it can't be, or doesn't fit into the memory that the
  /// ranks of a node have.
  [[nodiscard]] zero::PlanRequest plan_engine(config::Overlap overlap);
  /// Resolves comm.dealing in both: rank 0 tells it. `first` plans the epoch that begins.
  void deal_slots(zero::PlanRequest& first, zero::PlanRequest& request);
  void tell_choices(const OverlapChoice& choice, const config::RunConfig& config);
  void build_engine(zero::PlanRequest request);
  /// While the engine lives, collectives follow its stream, and a hang leaves what each rank did
  /// last in the output folder.
  void watch_engine();
  void open_audit();
  void resume();
  void load_initial();
  void check_probe();
  /// Warns where the next step's rate is another one by this deck than by the checkpoint's.
  void compare_rates();
  void open_saver();
  void print_sizes();

  Session& session_;
  RunContext& run_;
  const config::RunConfig& config_;
  runtime::WatchedCollectives& collectives_;
  Log& log_;
  RunState& state_;
  const runtime::Communicator& node_;
  /// Of checkpoint.init_from, until its parameters are loaded.
  std::unique_ptr<io::CheckpointReader> initial_;
};

}  // namespace th::train
