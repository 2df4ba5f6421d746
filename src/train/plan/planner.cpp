#include "train/plan/planner.hpp"

#include "th/base/error.hpp"
#include "th/data/loader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/dealing.hpp"
#include "th/train/evaluation.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/train/training_data.hpp"
#include "th/train/watch/memory_watch.hpp"

#include <algorithm>
#include <utility>

namespace th::train {

namespace {

std::vector<zero::BatchShape> evaluation_shapes(const data::ParallelCorpus& corpus,
                                                const config::RunConfig& config) {
  std::vector<zero::BatchShape> shapes;
  for (const zero::BatchShape& shape : EvaluationBatches(corpus, config.data, 0, 1).shapes())
    data::keep_largest(shapes, shape);
  return shapes;
}

/// At least one.
std::int64_t sentences_of_length(const config::DataSection& data, std::int64_t longest) {
  return std::max<std::int64_t>(
      1, data.batch_tokens == 0 ? data.batch_size : data.batch_tokens / longest);
}

}  // namespace

config::RunConfig with(config::RunConfig config, std::int64_t stage,
                       config::GradientCheckpointing kind) {
  config.zero.stage = stage;
  config.model.gradient_checkpointing = kind;
  return config;
}

void Planner::Means::add(const model::PassSizes& pair) {
  for (double model::PassSizes::*size : kSizes) sum.*size += pair.*size;
}

model::PassSizes Planner::Means::times(double factor) const {
  model::PassSizes out;
  for (double model::PassSizes::*size : kSizes) out.*size = sum.*size * factor;
  return out;
}

Planner::Planner(const config::LoadedDeck& deck, std::int64_t launched_ranks)
    : config_(deck.config) {
  request_.ranks = config_.plan.ranks > 0 ? config_.plan.ranks : launched_ranks;
  request_.slots = config_.train.micro_batches > 0 ? config_.train.micro_batches : request_.ranks;
  if (request_.slots < request_.ranks) {
    throw DeckError("train.micro_batches: " + std::to_string(request_.slots) +
                    " slots a step are fewer than the " + std::to_string(request_.ranks) +
                    " ranks of the plan (plan.ranks)");
  }
  // A plan may ask for more ranks than this corpus feeds.
  config::RunConfig lengths_alone = config_;
  lengths_alone.data.batch_size = 1;
  lengths_alone.data.batch_tokens = 0;
  const int here = static_cast<int>(config_.plan.ranks_per_node > 0
                                        ? std::min(request_.ranks, config_.plan.ranks_per_node)
                                        : request_.ranks);
  overlap_ = choose_overlap(config_, here, runtime::cpus_in_mask(), transport(memory()));
  config_.comm.overlap = overlap_.overlap;
  if (config_.zero.stage != 3)
    config_.zero.max_live_parameters = 0;  // without effect in the deck's own run
  request_.nodes = runtime::NodeMap::block(static_cast<int>(request_.ranks),
                                           static_cast<int>(config_.plan.ranks_per_node));
  request_.shared_room = runtime::shared_memory_room();
  const TrainingData data = open_training_data(lengths_alone, 1, 1);
  request_.source_vocabulary = data.source_vocabulary;
  request_.target_vocabulary = data.target_vocabulary;
  request_.longest = data.longest;
  request_.source_per_target = data.source_per_target;
  request_.saves = config::writes_checkpoints(config_);
  dataset_ = data.dataset;
  if (dataset_.train) lengths_ = dataset_.train->lengths();
  const model::AttentionCuts cuts = model::attention_cuts(
      {config_.model, data.source_vocabulary, data.target_vocabulary, 1, data.source_per_target});
  for (const data::SentenceLength& length : lengths_) {
    mean_.add(model::sentence_sizes(cuts, length.source, length.target));
    mean_longest_ += std::max(length.source, length.target);
  }
  if (lengths_.empty()) {
    mean_.add(
        model::sentence_sizes(cuts, config_.data.synthetic_length, config_.data.synthetic_length));
    mean_longest_ = static_cast<double>(config_.data.synthetic_length);
  }
  const double pairs = std::max<double>(1, static_cast<double>(lengths_.size()));
  mean_longest_ /= pairs;
  mean_.sum = mean_.times(1 / pairs);
}

double Planner::sentences(const config::RunConfig& config) const {
  const double asked = config.data.batch_tokens == 0
                           ? static_cast<double>(config.data.batch_size)
                           : static_cast<double>(config.data.batch_tokens) / mean_longest_;
  return std::clamp(asked, 1.0,
                    lengths_.empty() ? asked + 1 : static_cast<double>(lengths_.size()));
}

zero::MemoryPlan Planner::plan(const config::RunConfig& config,
                               runtime::DeviceMemory memory) const {
  zero::PlanRequest request = request_;
  request.config = config;
  request.memory = memory;
  // What a GPU would take: its ranks share no memory.
  if (memory == runtime::DeviceMemory::kOwn)
    request.config.zero.partition = config::Partition::kWorld;
  request.transport = transport(memory);
  request.fused_attention = memory == runtime::DeviceMemory::kOwn;
  if (memory == runtime::DeviceMemory::kOwn) request.gemm = model::GemmLibrary::kCublas;
  const Shapes& batches = shapes(config);
  request.training = batches.training;
  request.evaluation = batches.evaluation;
  request.decoding = batches.decoding;
  if (zero::decodes_sharded(config) && !request.decoding.empty())
    request.decoded_together = zero::sentences_in_lock_step(request);
  const DealingChoice dealing = choose_dealing(config, request.slots, *request.nodes, [&] {
    request.config.comm.dealing = config::Dealing::kBlocks;
    return bytes_without_room(request, request.nodes->node_size(0),
                              runtime::available_memory_bytes()) == 0;
  });
  request.config.comm.dealing = dealing.dealing;
  return zero::plan_memory(request);
}

const Planner::Shapes& Planner::shapes(const config::RunConfig& config) const {
  const auto [found, made] =
      shapes_.try_emplace({config.data.batch_size, config.data.batch_tokens});
  Shapes& all = found->second;
  if (!made) return all;
  all.training = training_shapes(config);
  if (dataset_.valid) all.evaluation = evaluation_shapes(*dataset_.valid, config);
  all.decoding = decoding_shapes(config, dataset_);
  return all;
}

std::vector<zero::BatchShape> Planner::training_shapes(const config::RunConfig& config) const {
  if (lengths_.empty()) {
    const std::int64_t length = config.data.synthetic_length;
    return {zero::BatchShape::uniform(sentences_of_length(config.data, length), length, length)};
  }
  try {
    return data::CorpusSource(dataset_.training(), config.data, {request_.slots, 1},
                              config.run.seed, 0)
        .largest_shapes(0, data::StepSource::SlotsOf::kThisRank);
  } catch (const DataError&) {
    return {longest_sentences(config.data)};
  }
}

zero::BatchShape Planner::longest_sentences(const config::DataSection& data) const {
  std::vector<data::SentenceLength> order = lengths_;
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.source + a.target > b.source + b.target;
  });
  const std::int64_t count = sentences_of_length(data, std::max(order[0].source, order[0].target));
  order.resize(static_cast<std::size_t>(std::min<std::int64_t>(count, std::ssize(order))));
  std::vector<std::int32_t> source, target;
  for (auto length = order.rbegin(); length != order.rend(); ++length) {
    source.push_back(length->source);
    target.push_back(length->target);
  }
  return {std::move(source), std::move(target)};
}

double Planner::slot_flops(const config::RunConfig& config) const {
  const model::Transformer shapes(
      {config.model, request_.source_vocabulary, request_.target_vocabulary,
       std::max<std::int64_t>(1, model::learned_positions(config))},
      model::GemmLibrary::kMkl, model::Arithmetic::kShapesOnly);
  return shapes.training_flops(mean_.times(sentences(config)));
}

std::string Planner::batch_text() const {
  const std::vector<zero::BatchShape>& training = shapes(config_).training;
  const auto tokens = [](const zero::BatchShape& shape) {
    return shape.source_tokens() + shape.target_tokens();
  };
  const zero::BatchShape& largest =
      *std::max_element(training.begin(), training.end(),
                        [&](const auto& a, const auto& b) { return tokens(a) < tokens(b); });
  return std::to_string(largest.sentences()) + " sentences, " +
         std::to_string(largest.source_tokens()) + " source + " +
         std::to_string(largest.target_tokens()) + " target ids";
}

}  // namespace th::train
