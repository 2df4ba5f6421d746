#pragma once

#include <memory>
#include <string>

#include "th/base/log.hpp"
#include "th/config/deck.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/watched_collectives.hpp"
#include "th/train/run_device.hpp"

namespace th::train {

class FinalResult;
class RunReport;
class RunSaver;
class RunValidation;
class StepLoop;
struct Session;

/// A run: a Session (data, model and engine, put together from a checked deck) and the loop over
/// its steps, with validation, checkpoints and the final result. All ranks make a Trainer and call
/// run().
class Trainer {
 public:
  /// Opens the data, prepares the output folder, builds the engine on `device`, whose transport
  /// `collectives` watches, and resumes if the deck asks for it. Collective. Throws the same Error
  /// on every rank.
  Trainer(const config::LoadedDeck& deck, const RunDevice& device,
          runtime::WatchedCollectives& collectives, runtime::Watchdog& watchdog,
          const runtime::Communicator& node, Log& log);
  ~Trainer();

  /// Trains to the end, or to a stop signal or the time limit with a checkpoint. Collective.
  /// Returns the process' exit code.
  [[nodiscard]] int run();

 private:
  /// What the ranks agree on at a step border.
  struct Border {
    std::string stop;            ///< why the run must stop; empty: it goes on
    bool checkpoint = false;     ///< SIGUSR2
    bool writers_done = false;   ///< the save in flight is complete on every rank
    bool record_failed = false;  ///< rank 0 could not write a record
  };
  /// How the loop ended.
  struct Ended {
    bool stopped = false;  ///< before the end of the run
    bool save = false;     ///< the last validation asks for a checkpoint
  };
  [[nodiscard]] int run_to_the_end();
  [[nodiscard]] Ended loop();
  /// The last validation and the last checkpoint.
  void finish(Ended& ended);
  [[nodiscard]] Border agree();
  void save();
  /// Called before an error that has nothing to do with the state: writes a checkpoint if possible,
  /// so that no step is lost. Collective.
  void save_what_can_be();

  std::unique_ptr<Session> session_;
  bool complete_ = false;    ///< the run had ended already; nothing was opened
  bool take_times_ = false;  ///< take the times of the last step at its border
  // run() makes the rest.
  std::unique_ptr<RunReport> report_;
  std::unique_ptr<RunSaver> saver_;
  std::unique_ptr<RunValidation> validation_;
  std::unique_ptr<StepLoop> steps_;
  std::unique_ptr<FinalResult> final_;
};

}  // namespace th::train
