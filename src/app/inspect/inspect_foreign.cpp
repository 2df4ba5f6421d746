#include <nlohmann/json.hpp>

#include "app/inspect/inspect_commands.hpp"
#include "app/interchange/marian.hpp"
#include "app/interchange/marianmt.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/io/checkpoint/checkpoint_build.hpp"

// import --from: checkpoints of other programs' models.
namespace th::app {
namespace {

using Json = nlohmann::json;

ForeignModel read_model(const InspectRequest& request) {
  const std::string& path = request.words[0];
  const std::string &source = request.vocabulary_source, &target = request.vocabulary_target;
  if (request.from == "huggingface-marian") return read_marianmt({path, source, target});
  if (request.from != "marian")
    throw DeckError("--from " + request.from + " is unknown; allowed marian, huggingface-marian");
  if (source.empty() || target.empty())
    throw DeckError(
        "--from marian needs --vocabulary-source and --vocabulary-target: the model's "
        "vocabularies, .yml, .json, .spm or a word a line");
  return read_marian(path, source, target);
}

}  // namespace

int import_foreign(const InspectRequest& request) {
  if (!request.like.empty())
    throw DeckError("--like contradicts --from: the model brings its options and vocabularies");
  const ForeignModel model = read_model(request);
  const io::CheckpointInfo info = describe(model, request.deck);
  ForeignTensors tensors(model, info);
  io::build_checkpoint(request.output,
                       request.force ? io::Existing::kReplace : io::Existing::kRefuse, info,
                       [&](const std::string&, const std::string& tensor, std::int64_t begin,
                           std::span<float> out) { tensors.read(tensor, begin, out); });
  Json keys = Json::object();
  std::string lines;
  for (const auto& [key, value] : model.keys) {
    keys[key] = value;
    lines += "\n" + key + " = " + value;
  }
  const Json json = {{"output", request.output},
                     {"input", model.path},
                     {"from", request.from},
                     {"source_tokens", info.source_tokens.size()},
                     {"target_tokens", info.target_tokens.size()},
                     {"keys", keys}};
  answer(request,
         request.output + ": the model of " + model.path + " with " +
             std::to_string(info.source_tokens.size()) + " source and " +
             std::to_string(info.target_tokens.size()) +
             " target tokens; a deck that begins with it has" + lines,
         json_text(json));
  return 0;
}

}  // namespace th::app
