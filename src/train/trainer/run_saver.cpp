#include "train/trainer/run_saver.hpp"

#include <utility>

namespace th::train {

using runtime::FlightRecord;

void RunSaver::save() {
  RunState& state = session_.state;
  session_.run.watchdog.enter("checkpoint", state.step);
  const auto start = RunReport::Clock::now();
  const FlightRecord::HostScope event(*session_.engine->flight_record(),
                                      FlightRecord::What::kCheckpoint);
  state.probe_loss = session_.probe_loss();
  state.probe = session_.probe.hash;
  state.best = session_.tracker.state();
  state.best_at_end = session_.tracker.end();
  session_.memory->saw_save();
  session_.saver->save(*session_.engine, session_.checkpoint_info(state),
                       {session_.tracker.kept(), std::exchange(dropped_, {})});
  saved_step_ = state.step;
  report_.time_use().checkpoints += report_.phase("checkpoint", start);
}

}  // namespace th::train
