#include "th/train/selfcheck.hpp"

#include "th/base/counted.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/config/file_keys.hpp"
#include "th/train/loss_scale.hpp"
#include "th/train/lr_schedule.hpp"
#include "th/train/overlap.hpp"
#include "th/train/training_data.hpp"

#include <array>
#include <bit>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace th::train {

namespace {

constexpr std::int64_t kSteps = 3;

struct Outcome {
  std::vector<std::uint64_t> bits;  ///< of each step's loss and norm, then of the parameters
  double loss = 0, grad_norm = 0;   ///< of the last step
  friend bool operator==(const Outcome& a, const Outcome& b) { return a.bits == b.bits; }
};

/// A hash of all parameters that does not depend on who holds which: every element's bits are mixed
/// with its place, and the results added.
std::uint64_t parameter_hash(const zero::ZeroEngine& engine, runtime::ControlCalls& control) {
  std::vector<float> shard(static_cast<std::size_t>(engine.layout().shard_total()));
  engine.states().read(zero::State::kParameters, shard);
  std::uint64_t sum = 0;
  for (const zero::FlatLayout::Piece& piece : engine.layout().pieces(control.rank())) {
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const auto place = hash_pair(static_cast<std::uint64_t>(piece.tensor),
                                   static_cast<std::uint64_t>(piece.tensor_begin + i));
      sum += hash_pair(place, std::bit_cast<std::uint32_t>(
                                  shard[static_cast<std::size_t>(piece.shard_offset + i)]));
    }
  }
  std::uint64_t total = 0;
  for (const std::string& text : control.gather_texts(std::to_string(sum)))
    total += std::stoull(text);
  return total;
}

Outcome three_steps(const config::RunConfig& config, const TrainingData& data, std::int64_t slots,
                    const RunDevice& device, runtime::Collectives& collectives) {
  model::Transformer model({config.model, data.source_vocabulary, data.target_vocabulary,
                            data.longest, data.source_per_target},
                           device.gemm(), model::Arithmetic::kCompute, device.compute());
  zero::ZeroEngine engine(config, model, collectives, slots, device.device());
  Outcome outcome;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const data::StepBatches batches = data.source->make(0, step % data.source->steps(0));
    const zero::StepResult result =
        run_step(config, model, engine, batches, step,
                 {learning_rate(config, schedule_steps(config, *data.source), step + 1), step + 1,
                  initial_loss_scale(config)});
    outcome.loss = result.loss_sum / static_cast<double>(batches.target_tokens);
    outcome.grad_norm = result.grad_norm;
    outcome.bits.push_back(std::bit_cast<std::uint64_t>(outcome.loss));
    outcome.bits.push_back(std::bit_cast<std::uint64_t>(outcome.grad_norm));
  }
  outcome.bits.push_back(parameter_hash(engine, collectives.control()));
  return outcome;
}

std::string row(const std::string& stage, const char* kind, const Outcome& o, const char* verdict) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), "%5s  %-10s  %-19.17g  %-19.17g  %016llx  %s",
                stage.c_str(), kind, o.loss, o.grad_norm,
                static_cast<unsigned long long>(o.bits.back()), verdict);
  return text.data();
}

}  // namespace

bool selfcheck(const config::LoadedDeck& deck, const RunDevice& device,
               runtime::Collectives& collectives, const runtime::Communicator& node, Log& log) {
  using config::GradientCheckpointing;
  constexpr std::array<std::pair<GradientCheckpointing, const char*>, 4> kKinds{
      {{GradientCheckpointing::kNone, "none"},
       {GradientCheckpointing::kSelective, "selective"},
       {GradientCheckpointing::kFull, "full"},
       {GradientCheckpointing::kSqrt, "sqrt"}}};
  config::RunConfig config = deck.config;
  const std::int64_t ranks = collectives.size();
  const std::int64_t slots = config.train.micro_batches > 0 ? config.train.micro_batches : ranks;
  if (slots < ranks) {
    throw DeckError("train.micro_batches: " + std::to_string(slots) +
                    " slots a step are fewer than the " + std::to_string(ranks) + " ranks");
  }
  if (config.comm.reduction == config::Reduction::kFast) {
    if (collectives.rank() == 0)
      log.warn("comm.reduction=fast adds in the backend's own order; the check is made with exact");
    config.comm.reduction = config::Reduction::kExact;
  }
  config.comm.overlap = resolve_overlap(config, collectives.control(), node, device.way()).overlap;
  if (config.zero.stage != 3)
    config.zero.max_live_parameters = 0;  // without effect in the deck's own run
  const TrainingData data = config::naming_keys(
      deck, [&] { return open_training_data(config, slots, collectives.control(), node); });
  log.info("Self-check: " + std::to_string(kSteps) + " steps, " + counted(ranks, "rank") + ", " +
           counted(slots, "slot") + " a step, every zero.stage and model.gradient_checkpointing." +
           (device.on_gpu() ? "" : " Offload has no effect on a CPU."));
  log.info("stage  recompute   loss of step 3       gradient norm        parameters' hash  bits");
  const Outcome* first = nullptr;
  std::vector<Outcome> outcomes;
  outcomes.reserve(4 * kKinds.size());
  bool same = true;
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    for (const auto& [kind, name] : kKinds) {
      config.zero.stage = stage;
      config.model.gradient_checkpointing = kind;
      outcomes.push_back(three_steps(config, data, slots, device, collectives));
      if (first == nullptr) first = &outcomes.front();
      const bool equal = outcomes.back() == *first;
      same = same && equal;
      log.info(row(std::to_string(stage), name, outcomes.back(), equal ? "same" : "DIFFERS"));
    }
  }
  log.info(same ? "All stages and kinds of recomputation give the same bits."
                : "The bits differ: this is a defect, please report it with this table.");
  return same;
}

}  // namespace th::train
