#include "th/train/training_data.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/config/schedule_end.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/runtime/ops/score_rule.hpp"
#include "th/train/agreement.hpp"
#include "th/zero/engine_buffers.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace th::train {

namespace {

// Random ids have no end: train.max_steps ends the run, and what is drawn does not depend on it.
constexpr std::int64_t kSyntheticEpoch = std::int64_t{1} << 40;

/// How the ranks of a node come to one index.
data::NodeShare share_of(const config::RunConfig& config) {
  data::NodeShare share;
  share.output_dir = config.run.output_dir;
  // Before the watchdog takes those who wait for a hang.
  const double limit = config.comm.timeout_seconds;
  if (limit > 0)
    share.pipe_patience = std::min(
        share.pipe_patience, std::chrono::milliseconds(static_cast<std::int64_t>(limit * 500)));
  return share;
}

/// The text of the node's first rank, for all of them, once all have come: the first one may remove
/// then what the others have opened. Collective over the node.
void broadcast_on(const runtime::Communicator& node, std::string& text) {
  runtime::check_mpi(MPI_Barrier(node.get()), "MPI_Barrier");
  std::uint64_t size = text.size();
  runtime::check_mpi(MPI_Bcast(&size, 1, MPI_UINT64_T, 0, node.get()), "MPI_Bcast");
  text.resize(size);
  runtime::check_mpi(MPI_Bcast(text.data(), static_cast<int>(size), MPI_BYTE, 0, node.get()),
                     "MPI_Bcast");
}

std::shared_ptr<data::StepSource> corpus_source(TrainingData& data, const config::RunConfig& config,
                                                const SlotDealing& dealing, std::int64_t rank) {
  auto source = std::make_shared<data::CorpusSource>(data.dataset.training(), config.data, dealing,
                                                     config.run.seed, rank);
  const std::vector<std::int64_t> shares = source->shares();
  const std::vector<std::string> files = config::files_of(config.data.train_source);
  for (std::size_t f = 0; f < shares.size(); ++f)
    data.dataset.notes.push_back("An epoch takes " + std::to_string(shares[f]) + " pairs of the " +
                                 std::to_string(data.dataset.train->info().file_pairs[f]) + " of " +
                                 files[f]);
  return source;
}

double source_per_target(const data::ParallelCorpus& corpus) {
  constexpr int kBits = runtime::ScoreRule::kRatioBits;
  double source = 0, target = 0;
  const data::Lengths lengths = corpus.length_view();
  for (std::int64_t i = 0; i < lengths.size(); ++i) {
    source += lengths[i].source;
    target += lengths[i].target;
  }
  return std::ldexp(std::max(1.0, std::round(std::ldexp(source / std::max(1.0, target), kBits))),
                    -kBits);
}

void finish(TrainingData& data, const config::RunConfig& config) {
  if (config::has_window(config.model.cross_attention) && data.dataset.train)
    data.source_per_target = source_per_target(*data.dataset.train);
  data.source_vocabulary = data.dataset.source_tokenizer ? data.dataset.source_tokenizer->size()
                                                         : config.data.vocab_size;
  data.target_vocabulary = data.dataset.target_tokenizer ? data.dataset.target_tokenizer->size()
                                                         : config.data.vocab_size;
  data.longest = position_rows(config);
}

bool synthetic(const config::RunConfig& config) {
  return config.data.synthetic == config::Synthetic::kRandomIds;
}

std::shared_ptr<data::StepSource> synthetic_source(const config::RunConfig& config,
                                                   const SlotDealing& dealing, std::int64_t rank) {
  return std::make_shared<data::SyntheticSource>(config.data, dealing, config.run.seed,
                                                 kSyntheticEpoch, rank);
}

}  // namespace

TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                runtime::ControlCalls& control, const runtime::Communicator& node,
                                const io::CheckpointReader* resumed) {
  TrainingData data;
  const std::int64_t rank = control.rank();
  const SlotDealing dealing = zero::slot_dealing(config, slots, control.size());
  if (synthetic(config)) {
    data.source = synthetic_source(config, dealing, rank);
  } else {
    data::TokenizerPair given;
    run_agreed(control, [&] { given = io::given_tokenizers(config, resumed); });
    data::NodeShare share = share_of(config);
    share.writer = node.rank() == 0;
    share.broadcast = [&node](std::string& text) { broadcast_on(node, text); };
    // open_dataset meets the node's ranks itself, also when it fails, so an error here is the same
    // on the ranks of a node.
    run_agreed(control, [&] {
      data.dataset =
          data::open_dataset(config.data, config::joint_vocabulary(config), share, given);
      data.source = corpus_source(data, config, dealing, rank);
    });
  }
  finish(data, config);
  return data;
}

TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                std::int64_t ranks, const io::CheckpointReader* resumed) {
  TrainingData data;
  const SlotDealing dealing = zero::slot_dealing(config, slots, ranks);
  if (synthetic(config)) {
    data.source = synthetic_source(config, dealing, 0);
  } else {
    data.dataset = data::open_dataset(config.data, config::joint_vocabulary(config),
                                      share_of(config), io::given_tokenizers(config, resumed));
    data.source = corpus_source(data, config, dealing, 0);
  }
  finish(data, config);
  return data;
}

std::int64_t schedule_steps(const config::RunConfig& config, const data::StepSource& source) {
  // Epochs by token budget differ by a few steps, and each has to be laid out to be counted.
  constexpr std::int64_t kCounted = 1000;
  if (!config::schedule_ends(config.schedule.name)) return 0;
  if (config.schedule.total_steps > 0) return config.schedule.total_steps;
  const bool alike = config.data.batch_tokens == 0 || !source.counts_quickly();
  const std::int64_t counted = alike ? 1 : std::min(config.train.epochs, kCounted);
  std::int64_t steps = 0, all = 0;
  for (std::int64_t epoch = 0; epoch < counted; ++epoch) steps += source.steps(epoch);
  if (__builtin_mul_overflow(steps, config.train.epochs, &all))
    return std::numeric_limits<std::int64_t>::max();
  return all / counted;
}

std::int64_t position_rows(const config::RunConfig& config) {
  if (config.model.position == config::Position::kLearned) return model::learned_positions(config);
  return std::max({config.data.longest_length(), config.data.synthetic_length,
                   config.decode.max_length}) +
         2;
}

void require_schedule_fits(const config::RunConfig& config, std::int64_t steps) {
  const std::int64_t warmup = config.schedule.warmup_steps, falling = steps - warmup;
  if (steps > 0 && falling <= 0) {
    throw DeckError("schedule.warmup_steps: " + std::to_string(warmup) + " is not below the " +
                    std::to_string(steps) +
                    " steps of train.epochs; lower it or set schedule.total_steps");
  }
  if (config.schedule.name == config::ScheduleKind::kWsd && config.schedule.decay_steps > falling) {
    throw DeckError("schedule.decay_steps: " + std::to_string(config.schedule.decay_steps) +
                    " is more than the " + std::to_string(falling) +
                    " steps that train.epochs leaves after the warm-up; lower it or set "
                    "schedule.total_steps");
  }
}

std::uint64_t dropout_key(const config::RunConfig& config, std::int64_t step) {
  constexpr std::uint64_t kDropoutStream = 0x64726f70;
  return hash_pair(hash_pair(config.run.seed, kDropoutStream), static_cast<std::uint64_t>(step));
}

void accumulate_rounds(const config::RunConfig& config, model::Transformer& model,
                       zero::ZeroEngine& engine, const data::StepBatches& batches,
                       std::int64_t step, const zero::StepRequest& request) {
  const std::uint64_t key = dropout_key(config, step);
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const bool mine = round < std::ssize(batches.rounds);
    engine.accumulate(model, mine ? &batches.rounds[static_cast<std::size_t>(round)] : nullptr, key,
                      gradient_scale(batches, request), config.train.label_smoothing);
  }
}

void enqueue_step(const config::RunConfig& config, model::Transformer& model,
                  zero::ZeroEngine& engine, const data::StepBatches& batches, std::int64_t step,
                  const zero::StepRequest& request) {
  engine.begin_step();
  accumulate_rounds(config, model, engine, batches, step, request);
  engine.end_step(request);
}

zero::StepResult run_step(const config::RunConfig& config, model::Transformer& model,
                          zero::ZeroEngine& engine, const data::StepBatches& batches,
                          std::int64_t step, const zero::StepRequest& request) {
  enqueue_step(config, model, engine, batches, step, request);
  return engine.result();
}

}  // namespace th::train
