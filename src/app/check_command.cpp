#include "check_command.hpp"

#include "checked_deck.hpp"
#include "th/config/deck.hpp"
#include "th/config/file_keys.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/decoding/search_options.hpp"
#include "th/train/run_state.hpp"
#include "th/train/training_data.hpp"
#include "th/train/validation.hpp"

#include <algorithm>
#include <memory>
#include <vector>

// th_app DECK --check and --check --data.
namespace th::app {

namespace {

/// The checkpoint that the run would go on from; null: it begins at step 0.
std::unique_ptr<io::CheckpointReader> resumed(const config::RunConfig& config) {
  const std::string checkpoints = config.run.output_dir + "/checkpoints";
  std::string folder = config.checkpoint.resume_path;
  if (config.checkpoint.resume == config::Resume::kLatest) {
    std::vector<std::string> ignored;  // the run itself tells what it passes over
    folder = io::find_latest(checkpoints, ignored).value_or("");
  }
  if (folder.empty()) return nullptr;
  return std::make_unique<io::CheckpointReader>(folder);
}

std::vector<std::string> data_lines(const config::LoadedDeck& deck, std::int64_t ranks) {
  const config::RunConfig& config = deck.config;
  const std::unique_ptr<io::CheckpointReader> reader = resumed(config);
  std::int64_t slots = config.train.micro_batches > 0 ? config.train.micro_batches : ranks;
  if (reader) slots = train::run_state_from_json(reader->info().state_json).micro_batches;
  train::require_script(config);
  const train::TrainingData data = config::naming_keys(
      deck, [&] { return train::open_training_data(config, slots, ranks, reader.get()); });
  train::require_schedule_fits(config, train::schedule_steps(config, *data.source));
  std::vector<std::string> lines;
  if (!data.dataset.train) return {"data: random ids; no file is read"};
  // A forbidden word outside the vocabulary is refused, as by the run.
  (void)model::search_options(config.decode, config.run.seed, *data.dataset.target_tokenizer);
  for (const std::string& warning : data.dataset.warnings) lines.push_back("warning: " + warning);
  for (const std::string& note : data.dataset.notes) lines.push_back("data: " + note);
  lines.push_back("data: vocabulary: source " + std::to_string(data.source_vocabulary) +
                  ", target " + std::to_string(data.target_vocabulary));
  lines.push_back("data: the first epoch has " + std::to_string(data.source->steps(0)) +
                  " steps of " + std::to_string(slots) + " slots");
  return lines;
}

}  // namespace

std::string check_text(const config::CommandLine& line, int launched_ranks) {
  const config::LoadedDeck deck = config::load_deck(line.deck_path, line.overrides);
  if (!line.reads_data) return checked_deck(deck, nullptr);
  const std::vector<std::string> data = data_lines(deck, launched_ranks);
  return checked_deck(deck, &data);
}

}  // namespace th::app
