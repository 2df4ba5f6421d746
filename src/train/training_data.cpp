#include "th/train/training_data.hpp"

#include "th/base/hash.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/runtime/ops/score_rule.hpp"
#include "th/train/agreement.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

namespace th::train {

namespace fs = std::filesystem;

namespace {

// Steps, where train.max_steps does not ask for more.
constexpr std::int64_t kSyntheticEpoch = 1000;

/// Removes a folder when it goes out of scope, also when an error does.
class FolderGuard {
 public:
  explicit FolderGuard(fs::path folder) : folder_(std::move(folder)) {}
  ~FolderGuard() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  FolderGuard(const FolderGuard&) = delete;
  FolderGuard& operator=(const FolderGuard&) = delete;

 private:
  fs::path folder_;
};

fs::path cache_folder(const std::string& token) {
  return fs::path("/dev/shm") / ("th_app.corpus." + token);
}

double source_per_target(const data::ParallelCorpus& corpus) {
  constexpr int kBits = runtime::ScoreRule::kRatioBits;
  double source = 0, target = 0;
  for (const data::SentenceLength& length : corpus.lengths()) {
    source += length.source;
    target += length.target;
  }
  return std::ldexp(std::max(1.0, std::round(std::ldexp(source / std::max(1.0, target), kBits))),
                    -kBits);
}

void finish(TrainingData& data, const config::RunConfig& config) {
  if (config.model.cross_attention == config::Attention::kLocal && data.dataset.train)
    data.source_per_target = source_per_target(*data.dataset.train);
  data.source_vocabulary = data.dataset.source_tokenizer ? data.dataset.source_tokenizer->size()
                                                         : config.data.vocab_size;
  data.target_vocabulary = data.dataset.target_tokenizer ? data.dataset.target_tokenizer->size()
                                                         : config.data.vocab_size;
  data.longest =
      std::max({config.data.max_length, config.data.synthetic_length, config.decode.max_length}) +
      2;
  if (config.model.position == config::Position::kLearned)
    data.longest = model::learned_positions(config);
}

bool synthetic(const config::RunConfig& config) {
  return config.data.synthetic == config::Synthetic::kRandomIds;
}

std::shared_ptr<const data::StepSource> synthetic_source(const config::RunConfig& config,
                                                         std::int64_t slots, std::int64_t rank,
                                                         std::int64_t ranks) {
  return std::make_shared<data::SyntheticSource>(config.data, slots, config.run.seed,
                                                 std::max(kSyntheticEpoch, config.train.max_steps),
                                                 rank, ranks);
}

}  // namespace

TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                runtime::Collectives& collectives,
                                const runtime::Communicator& node,
                                const io::CheckpointReader* resumed) {
  TrainingData data;
  const std::int64_t rank = collectives.rank();
  const std::int64_t ranks = collectives.size();
  if (synthetic(config)) {
    data.source = synthetic_source(config, slots, rank, ranks);
  } else {
    data::TokenizerPair given;
    run_agreed(collectives, [&] { given = io::given_tokenizers(config, resumed); });
    std::string token = runtime::make_watchdog_token();
    collectives.broadcast(token, 0);
    const fs::path folder = cache_folder(token);
    const bool leader = node.rank() == 0;
    const FolderGuard guard(leader ? folder : fs::path());
    const data::SharedCache cache{
        folder, leader, [&node] { runtime::check_mpi(MPI_Barrier(node.get()), "MPI_Barrier"); }};
    // open_dataset joins the node's barriers itself, also when it fails, so an error here is the
    // same on the ranks of a node.
    run_agreed(collectives, [&] {
      data.dataset =
          data::open_dataset(config.data, config::joint_vocabulary(config), cache, given);
      data.source = std::make_shared<data::CorpusSource>(data.dataset.train, config.data, slots,
                                                         config.run.seed, rank, ranks);
    });
  }
  finish(data, config);
  return data;
}

TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                std::int64_t ranks) {
  TrainingData data;
  if (synthetic(config)) {
    data.source = synthetic_source(config, slots, 0, ranks);
  } else {
    const fs::path folder = cache_folder(runtime::make_watchdog_token());
    const FolderGuard guard(folder);
    data.dataset = data::open_dataset(config.data, config::joint_vocabulary(config),
                                      {folder, true, {}}, io::given_tokenizers(config));
    data.source = std::make_shared<data::CorpusSource>(data.dataset.train, config.data, slots,
                                                       config.run.seed, 0, ranks);
  }
  finish(data, config);
  return data;
}

std::int64_t schedule_steps(const config::RunConfig& config, const data::StepSource& source) {
  // Epochs by token budget differ by a few steps, and each has to be laid out to be counted.
  constexpr std::int64_t kCounted = 1000;
  const config::ScheduleKind name = config.schedule.name;
  if (name != config::ScheduleKind::kCosine && name != config::ScheduleKind::kWarmupLinear &&
      name != config::ScheduleKind::kWsd)
    return 0;
  if (config.schedule.total_steps > 0) return config.schedule.total_steps;
  const std::int64_t counted =
      config.data.batch_tokens == 0 ? 1 : std::min(config.train.epochs, kCounted);
  std::int64_t steps = 0, all = 0;
  for (std::int64_t epoch = 0; epoch < counted; ++epoch) steps += source.steps(epoch);
  if (__builtin_mul_overflow(steps, config.train.epochs, &all))
    return std::numeric_limits<std::int64_t>::max();
  return all / counted;
}

void enqueue_step(const config::RunConfig& config, model::Transformer& model,
                  zero::ZeroEngine& engine, const data::StepBatches& batches, std::int64_t step,
                  const zero::StepRequest& request) {
  constexpr std::uint64_t kDropoutStream = 0x64726f70;
  const std::uint64_t key =
      hash_pair(hash_pair(config.run.seed, kDropoutStream), static_cast<std::uint64_t>(step));
  engine.begin_step();
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const bool mine = round < std::ssize(batches.rounds);
    engine.accumulate(model, mine ? &batches.rounds[static_cast<std::size_t>(round)] : nullptr, key,
                      request.loss_scale / static_cast<double>(batches.target_tokens),
                      config.train.label_smoothing);
  }
  engine.end_step(request);
}

zero::StepResult run_step(const config::RunConfig& config, model::Transformer& model,
                          zero::ZeroEngine& engine, const data::StepBatches& batches,
                          std::int64_t step, const zero::StepRequest& request) {
  enqueue_step(config, model, engine, batches, step, request);
  return engine.result();
}

}  // namespace th::train
