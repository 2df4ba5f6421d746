#include "train/trainer/session.hpp"

#include "th/base/build_info.hpp"
#include "th/train/evaluation.hpp"

#include <array>

namespace th::train {

double Totals::padding() const {
  return padded_tokens > 0
             ? 1.0 - static_cast<double>(real_tokens) / static_cast<double>(padded_tokens)
             : 0;
}

Session::Session(const config::LoadedDeck& deck, const RunDevice& device,
                 runtime::WatchedCollectives& collectives, runtime::Watchdog& watchdog, Log& log)
    : run(deck, device, collectives, watchdog, log),
      output(run.config, log),
      tracker(run.config),
      stopping{StopRequests(run.config.run, collectives.rank() == 0), {}},
      facts{run.config} {}

bool Session::finished() const {
  const config::TrainSection& train = run.config.train;
  const bool all_epochs = state.epoch >= train.epochs;
  const bool all_steps = train.max_steps > 0 && state.step >= train.max_steps;
  return all_epochs || all_steps || tracker.out_of_patience();
}

bool Session::validates_now() const {
  const std::int64_t every = run.config.train.valid_every_steps;
  return every > 0 && state.step % every == 0;
}

bool Session::stop_asked() {
  if (!stopping.why.empty()) return true;
  std::vector<double> all(static_cast<std::size_t>(run.collectives.size()));
  double mine = stopping.requests.reason(0);
  // A launch that begins with this work would meet its limit here each time.
  if (mine == StopRequests::kTimeLimit && totals.steps == 0) mine = StopRequests::kNone;
  run.collectives.control().all_gather_doubles(std::array{mine}, all);
  stopping.why = stopping.requests.first_text(all);
  return !stopping.why.empty();
}

double Session::probe_loss() {
  if (probe.batch.sentences == 0) return 0;
  memory->saw_evaluation({shape_of(probe.batch)}, ledger_bytes(probe.batch));
  engine->units().begin_evaluation(1);
  const model::LossSum sum = model->evaluate(engine->units(), probe.batch);
  return sum.loss_sum / static_cast<double>(sum.tokens);
}

io::CheckpointInfo Session::checkpoint_info(const RunState& of) const {
  io::CheckpointInfo info;
  info.step = of.step;
  info.epoch = of.epoch;
  info.world_size = run.collectives.size();
  info.zero_stage = run.config.zero.stage;
  info.deck = config::resolved_text(run.deck);
  info.build = build_line();
  info.identity = run.identity;
  info.run = of.run;
  info.state_json = to_json(of);
  const data::Dataset& dataset = data.dataset;
  if (dataset.source_tokenizer) {
    info.source_tokens = dataset.source_tokenizer->tokens();
    info.target_tokens = dataset.target_tokenizer->tokens();
    info.source_model = dataset.source_tokenizer->model();
    info.target_model = dataset.target_tokenizer->model();
  }
  info.units = model->units();
  info.aliases = model->shared().aliases;
  return info;
}

RunParts Session::parts() {
  return {run.config,       data,
          run.device,       *model,
          *engine,          run.collectives.control(),
          run.watchdog,     *memory,
          run.log,          [this] { return stop_asked(); },
          decoding.sharded, decoding.together};
}

}  // namespace th::train
