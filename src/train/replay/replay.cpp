#include "th/train/replay/replay.hpp"

#include "th/base/counted.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/train/agreement.hpp"
#include "th/train/checkpointing.hpp"
#include "th/train/training_data.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

namespace th::train {

namespace {

namespace fs = std::filesystem;

struct Sizes {
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
};

Sizes sizes_of(const io::CheckpointReader& reader, const config::RunConfig& config) {
  const io::CheckpointInfo& info = reader.info();
  if (info.source_tokens.empty()) return {config.data.vocab_size, config.data.vocab_size};
  return {std::ssize(info.source_tokens), std::ssize(info.target_tokens)};
}

void require_ids(const BadStep& bad, const Sizes& sizes, std::int64_t longest) {
  const auto within = [](const std::vector<std::int64_t>& ids, std::int64_t size) {
    return std::all_of(ids.begin(), ids.end(),
                       [size](std::int64_t id) { return id >= 0 && id < size; });
  };
  for (std::size_t s = 0; s < bad.slots.size(); ++s) {
    const data::Batch& batch = bad.slots[s];
    if (!within(batch.source, sizes.source_vocabulary) ||
        !within(batch.target_in, sizes.target_vocabulary) ||
        !within(batch.target_out, sizes.target_vocabulary) || batch.source_length > longest ||
        batch.target_length > longest)
      throw DataError("micro-batch " + std::to_string(s) +
                      " has ids or lengths that the model does not have");
  }
}

/// Loss and tokens of each slot, without dropout. Collective.
std::vector<double> losses_of(const BadStep& bad, model::Transformer& model,
                              zero::ZeroEngine& engine, runtime::ControlCalls& control) {
  const SlotDealing& dealing = engine.dealing();
  const std::int64_t rounds = dealing.passes();
  std::vector<double> mine, all(static_cast<std::size_t>(2 * rounds * dealing.ranks));
  engine.units().begin_evaluation(rounds);
  for (std::int64_t round = 0; round < rounds; ++round) {
    const std::int64_t slot = dealing.slot(control.rank(), round);
    model::LossSum sum;
    if (slot >= 0)
      sum = model.evaluate(engine.units(), bad.slots[static_cast<std::size_t>(slot)]);
    else
      model.idle(engine.units(), model::IdlePass::kForward);
    mine.push_back(sum.loss_sum);
    mine.push_back(static_cast<double>(sum.tokens));
  }
  control.all_gather_doubles(mine, all);
  std::vector<double> out;
  for (std::int64_t slot = 0; slot < dealing.slots; ++slot) {
    const SlotDealing::Place place = dealing.place(slot);
    const auto at = static_cast<std::size_t>(2 * (place.rank * rounds + place.pass));
    out.push_back(all[at] / all[at + 1]);
  }
  return out;
}

std::string number(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.17g", value);
  return std::isfinite(value) ? text.data() : "not finite";
}

}  // namespace

bool replay(const BadStep& bad, const std::string& path, const config::LoadedDeck& deck,
            const RunDevice& device, runtime::Collectives& collectives, Log& log) {
  config::RunConfig config = deck.config;
  const std::int64_t slots = std::ssize(bad.slots), ranks = collectives.size();
  if (slots < ranks)
    throw DeckError(path + ": a step of " + std::to_string(slots) + " micro-batches for " +
                    std::to_string(ranks) + " ranks; start at most " + std::to_string(slots));
  if (config.comm.overlap == config::Overlap::kAuto) config.comm.overlap = config::Overlap::kOff;
  std::unique_ptr<io::CheckpointReader> reader;
  Sizes sizes;
  const std::int64_t longest = position_rows(config);
  run_agreed(collectives.control(), [&] {
    const fs::path folder = fs::absolute(path).parent_path();
    reader = std::make_unique<io::CheckpointReader>((folder / bad.checkpoint).string());
    sizes = sizes_of(*reader, config);
    require_ids(bad, sizes, longest);
  });
  model::Transformer model({config.model, sizes.source_vocabulary, sizes.target_vocabulary, longest,
                            bad.source_per_target},
                           device.gemm(), model::Arithmetic::kCompute, device.compute());
  zero::ZeroEngine engine(config, model, collectives, slots, device.device());
  load_checkpoint(*reader, engine, collectives.control(), LoadWhat::kParameters);
  log.info("Step " + std::to_string(bad.step) + " of " + path + ", with the parameters of " +
           reader->folder() + ": " + counted(slots, "micro-batch") + " on " +
           counted(ranks, "rank") + ".");
  const std::vector<double> losses = losses_of(bad, model, engine, collectives.control());
  for (std::int64_t s = 0; s < slots; ++s) {
    const data::Batch& batch = bad.slots[static_cast<std::size_t>(s)];
    log.info("Micro-batch " + std::to_string(s) + ": " + std::to_string(batch.sentences) +
             " sentences, " + std::to_string(batch.source_tokens) + " source and " +
             std::to_string(batch.target_tokens) + " target ids, loss without dropout " +
             number(losses[static_cast<std::size_t>(s)]));
  }
  data::StepBatches batches;
  for (std::int64_t s = 0; s < slots; ++s) {
    const data::Batch& batch = bad.slots[static_cast<std::size_t>(s)];
    batches.source_tokens += batch.source_tokens;
    batches.target_tokens += batch.target_tokens;
    if (engine.dealing().place(s).rank == collectives.rank()) batches.rounds.push_back(batch);
  }
  const zero::StepResult result = run_step(config, model, engine, batches, bad.step - 1,
                                           {0, bad.optimizer_step, bad.loss_scale});
  const double loss = result.loss_sum / static_cast<double>(batches.target_tokens);
  log.info("The step again: loss " + number(loss) + " (" + number(bad.loss) +
           " in the run), gradient norm " + number(result.grad_norm) + " (" +
           number(bad.grad_norm) + ")" +
           (result.not_finite.empty() ? "." : ", first in " + result.not_finite + "."));
  return std::isfinite(loss) && std::isfinite(result.grad_norm);
}

}  // namespace th::train
