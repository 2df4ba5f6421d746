#include "th/train/replay/bad_step.hpp"
#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/train/agreement.hpp"
#include "train/trainer/step_loop.hpp"

#include <array>
#include <cstdio>
#include <fstream>

// What a step that ends the run leaves for th_app --replay.
namespace th::train {

void StepLoop::keep_bad_step() {
  if (!config::writes_checkpoints(run_.config)) return;
  try {
    write_bad_step();
  } catch (const Error& error) {  // the error that ends the run is told all the same
    if (error.thrown() == Error::Thrown::kHere) throw;
    report_.warn(std::string("the step was not kept for --replay: ") + error.what());
  }
}

void StepLoop::write_bad_step() {
  const Judged& judged = last_judged_;
  runtime::WatchedCollectives& collectives = run_.collectives;
  run_.watchdog.enter("checkpoint", judged.step);
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), "bad_step_%08lld.json",
                static_cast<long long>(judged.step));
  const std::string path = run_.config.run.output_dir + "/" + name.data();
  // Nothing was updated since the step before.
  RunState state = state_;
  state.step = judged.step - 1;
  state.altered = "those before step " + std::to_string(judged.step) + ", which ended the run";
  {
    CheckpointSaver saver(collectives.control(), run_.config.run.output_dir + "/bad", {},
                          CheckpointSaver::Mode::kWait);
    saver.save(*session_.engine, session_.checkpoint_info(state), {});
  }
  std::string mine;
  run_agreed(collectives.control(), [&] {
    const std::int64_t place = state_.step_in_epoch - 1 - (state_.step - judged.step);
    mine = slots_json(session_.data.source->make(state_.epoch, place).rounds);
  });
  const std::vector<std::string> texts = collectives.control().gather_texts(mine);
  run_agreed(collectives.control(), [&] {
    if (!run_.is_root()) return;
    std::vector<std::vector<std::string>> slots;
    for (const std::string& text : texts) slots.push_back(slots_of(text));
    std::vector<std::string> all;
    for (std::int64_t s = 0; s < state_.micro_batches; ++s) {
      const SlotDealing::Place place = session_.engine->dealing().place(s);
      all.push_back(
          slots.at(static_cast<std::size_t>(place.rank)).at(static_cast<std::size_t>(place.pass)));
    }
    BadStep bad;
    bad.step = judged.step;
    bad.optimizer_step = judged.step - state_.skipped_steps;
    bad.loss = judged.loss;
    bad.grad_norm = judged.grad_norm;
    bad.loss_scale = judged.loss_scale;
    bad.not_finite = judged.not_finite;
    bad.source_per_target = session_.data.source_per_target;
    bad.deck = config::resolved_text(run_.deck);
    bad.checkpoint = "bad/" + io::step_name(state.step);
    std::ofstream out(path, std::ios::trunc);
    out << bad_step_json(bad, all);
    if (!out.flush()) throw CheckpointError(path + " can't be written: is the disk full?");
  });
  report_.say("The step's micro-batches are in " + path +
              ", the parameters before it beside them; th_app --replay " + path +
              " runs it again.");
}

}  // namespace th::train
