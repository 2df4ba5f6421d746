#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/inspect/inspect_commands.hpp"
#include "app/interchange/ctranslate2_model.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/config/deck.hpp"
#include "th/io/checkpoint/output.hpp"
#include "th/model/parameters/sinusoids.hpp"

// export --format ctranslate2: a folder that CTranslate2 loads.
namespace th::app {
namespace {

using Json = nlohmann::json;

/// The files of such a folder; one that holds others is not replaced.
const std::vector<std::string> kFiles = {
    "model.bin",  "config.json", "shared_vocabulary.json", "source_vocabulary.json",
    "source.spm", "target.spm",  "target_vocabulary.json"};

void write_file(const std::string& path, const std::string& text) {
  io::OutputFile file(path, io::Existing::kRefuse);
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

config::RunConfig config_of(const io::CheckpointReader& reader) {
  try {
    return config::load_deck_text(reader.info().deck, reader.folder() + " (its deck)", "/", {})
        .config;
  } catch (const DeckError& error) {
    throw CheckpointError(error.what());
  }
}

/// Writes model.bin; returns its bytes and counts what the type can't hold.
std::int64_t write_model(const std::string& path, const io::CheckpointReader& reader,
                         const CheckpointChoice& choice, std::int64_t& overflowed) {
  const config::RunConfig config = config_of(reader);
  const Ctranslate2Model model = ctranslate2_model(config, reader.info(), choice.type);
  io::OutputFile file(path, io::Existing::kRefuse);
  io::Ctranslate2Writer writer(file, {kCtranslate2Specification, kCtranslate2Revision},
                               model.variables, model.aliases);
  for (const std::string& name : writer.arrays()) {
    const Ctranslate2Source& source = model.sources.at(name);
    std::vector<float> values(static_cast<std::size_t>(source.count));
    if (source.tensor.empty())
      model::fill_sinusoids(config.model, source.count / config.model.d_model, values.data());
    else
      reader.read_elements(choice.group, source.tensor, source.begin, values);
    overflowed += io::count_overflows(values, choice.type);
    writer.write(values);
  }
  writer.finish();
  file.commit();
  return file.size();
}

void write_vocabularies(const std::string& folder, const io::CheckpointInfo& info) {
  if (info.source_tokens == info.target_tokens) {
    write_file(folder + "/shared_vocabulary.json", json_text(Json(info.source_tokens)) + "\n");
  } else {
    write_file(folder + "/source_vocabulary.json", json_text(Json(info.source_tokens)) + "\n");
    write_file(folder + "/target_vocabulary.json", json_text(Json(info.target_tokens)) + "\n");
  }
  if (!info.source_model.empty()) write_file(folder + "/source.spm", info.source_model);
  if (!info.target_model.empty()) write_file(folder + "/target.spm", info.target_model);
}

}  // namespace

int export_ctranslate2(const InspectRequest& request, const io::CheckpointReader& reader,
                       const CheckpointChoice& choice) {
  const io::CheckpointInfo& info = reader.info();
  if (info.source_tokens.empty())
    throw CheckpointError(reader.folder() +
                          " holds no vocabulary: it was trained on synthetic ids");
  const std::string configuration =
      ctranslate2_model(config_of(reader), info, choice.type).configuration;
  io::OutputFolder folder(request.output,
                          request.force ? io::Existing::kReplace : io::Existing::kRefuse, kFiles);
  require_sound(reader);
  std::int64_t overflowed = 0;
  const std::int64_t bytes =
      write_model(folder.temporary() + "/model.bin", reader, choice, overflowed);
  write_file(folder.temporary() + "/config.json", configuration);
  write_vocabularies(folder.temporary(), info);
  folder.commit();
  warn_of_overflows(request, overflowed);
  const Json json = {{"output", request.output},
                     {"checkpoint", reader.folder()},
                     {"format", "ctranslate2"},
                     {"dtype", request.dtype},
                     {"bytes", bytes},
                     {"overflowed", overflowed},
                     {"source_tokens", info.source_tokens.size()},
                     {"target_tokens", info.target_tokens.size()}};
  answer(request,
         request.output + ": the model of " + reader.folder() + " for CTranslate2, parameters as " +
             request.dtype + ", " + std::to_string(bytes) + " bytes",
         json_text(json));
  return 0;
}

}  // namespace th::app
