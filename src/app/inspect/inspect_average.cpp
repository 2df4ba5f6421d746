#include "app/inspect/inspect_commands.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/config/deck.hpp"
#include "th/config/state_names.hpp"
#include "th/io/checkpoint/checkpoint_build.hpp"
#include "th/io/checkpoint/compare.hpp"
#include "th/io/checkpoint/mean.hpp"
#include "th/train/run_state.hpp"

// average: the mean of several checkpoints' parameters, and of their moving averages where they
// hold some, with everything else from the last.
namespace th::app {
namespace {

using Readers = std::vector<std::unique_ptr<io::CheckpointReader>>;

/// The model keys of `deck` that are others than those of `last`.
std::string model_differences(const std::string& deck, const config::LoadedDeck& last) {
  std::string text;
  for (const auto& difference : config::differences_of_meaning(deck, last))
    text += "\n  " + difference.key + ": " + difference.checkpoint + ", " + difference.given +
            " in the last";
  return text;
}

void require_same_models(const Readers& readers) {
  const io::CheckpointReader& last = *readers.back();
  config::LoadedDeck deck;
  try {
    deck = config::load_deck_text(last.info().deck, last.folder() + " (its deck)", "/", {});
  } catch (const DeckError& error) {
    throw CheckpointError(std::string("this build can't read the checkpoint's own deck:\n") +
                          error.what());
  }
  const zero::FlatLayout layout(last.info().units, 1);
  for (const auto& reader : readers) {
    if (reader == readers.back()) continue;
    std::string text;
    for (const auto& [side, mine, theirs] :
         {std::tuple("source", reader->info().source(), last.info().source()),
          std::tuple("target", reader->info().target(), last.info().target())}) {
      const std::string difference = io::tokenizer_difference(mine, "it", theirs, "the last");
      if (!difference.empty()) text += std::string("\n  vocabulary/") + side + ": " + difference;
    }
    text += model_differences(reader->info().deck, deck);
    try {
      reader->require_same_tensors(layout);
    } catch (const CheckpointError& error) {
      const std::string tensors = error.what();
      text += tensors.substr(std::min(tensors.find('\n'), tensors.size()));
    }
    if (!text.empty())
      throw CheckpointError(reader->folder() + " and the last, " + last.folder() +
                            ", can't be averaged:" + text);
  }
}

/// The last one's moving average is replaced by the mean of all: th_translate may take it in place
/// of the parameters.
void require_averages(const Readers& readers) {
  if (!readers.back()->info().has_state(config::kAverageName)) return;
  for (const auto& reader : readers) {
    if (!reader->info().has_state(config::kAverageName))
      throw CheckpointError(reader->folder() + " and the last, " + readers.back()->folder() +
                            ", can't be averaged: the last holds a moving average of its "
                            "parameters (train.ema_decay), and the other none");
  }
}

/// The mean of a group of the checkpoints.
void read_mean(const Readers& readers, const std::string& kind, const std::string& tensor,
               std::int64_t begin, std::span<float> out) {
  io::Mean mean;
  mean.begin(out.size());
  for (const auto& reader : readers) {
    reader->read_elements(kind, tensor, begin, out);
    mean.add(out);
  }
  mean.write(out);
}

}  // namespace

int inspect_average(const InspectRequest& request) {
  if (request.output.empty()) throw DeckError("average needs --output FOLDER");
  Readers readers;
  std::string names;
  for (const auto& word : request.words) {
    readers.push_back(open_checkpoint(word));
    names += (names.empty() ? "" : ", ") +
             std::filesystem::path(readers.back()->folder()).filename().string();
  }
  require_same_models(readers);
  require_averages(readers);
  for (const auto& reader : readers) require_sound(*reader);
  io::CheckpointInfo info = readers.back()->info();
  train::RunState state = train::run_state_from_json(info.state_json);
  state.altered =
      "an average of " + std::to_string(readers.size()) + " checkpoints (" + names + ")";
  info.state_json = train::to_json(state);
  info.build = "th_inspect average, " + build_line();
  const io::CheckpointReader& last = *readers.back();
  io::build_checkpoint(request.output,
                       request.force ? io::Existing::kReplace : io::Existing::kRefuse, info,
                       [&](const std::string& kind, const std::string& tensor, std::int64_t begin,
                           std::span<float> out) {
                         if (kind == "parameters" || kind == config::kAverageName)
                           read_mean(readers, kind, tensor, begin, out);
                         else
                           last.read_elements(kind, tensor, begin, out);
                       });
  std::vector<std::string> folders;
  for (const auto& reader : readers) folders.push_back(reader->folder());
  const nlohmann::json json = {
      {"output", request.output}, {"averaged", folders}, {"step", info.step}};
  answer(request,
         request.output + ": the parameters' average of " + names +
             ", with optimizer states and position of the last (step " + std::to_string(info.step) +
             ")",
         json_text(json));
  return 0;
}

}  // namespace th::app
