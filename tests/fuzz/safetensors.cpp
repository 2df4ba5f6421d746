#include "th/io/formats/safetensors.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

#include "app/inspect/inspect_commands.hpp"
#include "app/interchange/marianmt.hpp"
#include "reader.hpp"
#include "th/config/deck.hpp"
#include "th/model/parameters/parameter_units.hpp"

// Files of safetensors, as th_inspect import takes them: this program's own, and a MarianMT model
// with its config.json ("{…") and its vocab.json ("[…" is read as that one, without the bracket).
namespace th::fuzz {
namespace {

using Shape = std::vector<std::int64_t>;
using Entries = std::vector<io::SafetensorsEntry>;

constexpr std::int64_t kWidth = 4, kInner = 3, kTokens = 8;
constexpr const char* kDeck =
    "[model]\nd_model = 4\nnum_heads = 1\nnum_encoder_layers = 1\nnum_decoder_layers = 1\n"
    "d_ff = 3\n[data]\ntrain_source = a\ntrain_target = b\n";

std::int64_t count_of(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string written(const std::string& path, const Entries& tensors,
                    const std::map<std::string, std::string>& metadata) {
  {
    io::OutputFile file(path, io::Existing::kReplace);
    io::SafetensorsWriter writer(file, tensors, metadata);
    for (const auto& tensor : writer.tensors())
      writer.write(std::vector<float>(static_cast<std::size_t>(count_of(tensor.shape)), 0.5F));
    file.commit();
  }
  return get_file(path);
}

/// The tensors of a MarianMT model of one layer.
Entries marianmt_tensors(bool positions) {
  Entries all;
  const auto add = [&](const std::string& name, const Shape& shape) {
    all.push_back({name, shape, ElementType::kFp32, 0, 0});
  };
  const auto linear = [&](const std::string& name, std::int64_t inputs, std::int64_t outputs) {
    add(name + ".weight", {outputs, inputs});
    add(name + ".bias", {outputs});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {kWidth});
    add(name + ".bias", {kWidth});
  };
  add("model.shared.weight", {kTokens, kWidth});
  add("final_logits_bias", {1, kTokens});
  for (const std::string side : {"encoder", "decoder"}) {
    const std::string layer = "model." + side + ".layers.0.";
    for (const std::string attention : {"self_attn", "encoder_attn"}) {
      if (side == "encoder" && attention == "encoder_attn") continue;
      for (const char* part : {"q", "k", "v", "out"})
        linear(layer + attention + "." + part + "_proj", kWidth, kWidth);
      norm(layer + attention + "_layer_norm");
    }
    linear(layer + "fc1", kWidth, kInner);
    linear(layer + "fc2", kInner, kWidth);
    norm(layer + "final_layer_norm");
    if (positions) add("model." + side + ".embed_positions.weight", {2, kWidth});
  }
  return all;
}

std::string config_json() {
  return nlohmann::json{{"model_type", "marian"},
                        {"activation_function", "swish"},
                        {"scale_embedding", true},
                        {"static_position_embeddings", true},
                        {"d_model", kWidth},
                        {"encoder_attention_heads", 1},
                        {"decoder_attention_heads", 1},
                        {"encoder_ffn_dim", kInner},
                        {"decoder_ffn_dim", kInner},
                        {"encoder_layers", 1},
                        {"decoder_layers", 1},
                        {"vocab_size", kTokens},
                        {"pad_token_id", kTokens - 1},
                        {"eos_token_id", 0},
                        {"decoder_start_token_id", kTokens - 1},
                        {"dropout", 0.1}}
      .dump();
}

constexpr const char* kVocabulary =
    R"({"</s>":0,"<unk>":1,"s":2,"t":3,">>fr<<":4,"e":5,"▁a":6,"<pad>":7})";

/// This program's own export of a small model.
std::string own_seed(const std::string& path) {
  const std::string words = R"(["<pad>","<unk>","<s>","</s>","a","b"])";
  const auto config = config::load_deck_text(kDeck, "deck", "/", {}).config;
  Entries tensors;
  for (const auto& unit :
       model::parameter_units(config.model, 6, 6, model::learned_positions(config)).units)
    for (const auto& tensor : unit.tensors)
      tensors.push_back({tensor.name, tensor.shape, ElementType::kFp32, 0, 0});
  return written(path, tensors,
                 {{"deck", kDeck}, {"vocabulary_source", words}, {"vocabulary_target", words}});
}

std::vector<std::string> safetensors_seeds(const std::string& folder) {
  const std::string path = folder + "/seed.safetensors";
  const Entries kinds = {{"a", {2, 3}, ElementType::kFp32, 0, 0},
                         {"b", {3}, ElementType::kFp16, 0, 0},
                         {"c", {}, ElementType::kBf16, 0, 0}};
  const std::string marianmt = written(path, marianmt_tensors(false), {{"format", "pt"}});
  put_file(folder + "/sound.safetensors", marianmt);
  std::vector<std::string> seeds = {written(path, kinds, {{"key", "value"}}),
                                    own_seed(path),
                                    marianmt,
                                    config_json(),
                                    "[" + std::string(kVocabulary),
                                    written(path, marianmt_tensors(true), {})};
  return seeds;
}

void read_tensors(const std::string& path) {
  const io::SafetensorsReader file(path);
  for (const auto& [name, entry] : file.tensors()) {
    std::vector<float> values(static_cast<std::size_t>(count_of(entry.shape)));
    file.read(name, 0, values);
  }
}

void import_file(const app::InspectRequest& request) {
  try {
    (void)app::inspect_import(request);
  } catch (const Error& error) {
    const bool ours = error.exit_code() == ExitCode::kCheckpoint ||
                      error.exit_code() == ExitCode::kDeck || error.exit_code() == ExitCode::kData;
    if (!ours) throw;
  }
}

void read_safetensors(const std::string& input, const std::string& folder) {
  const std::string home = folder + "/mt";
  std::filesystem::create_directory(home);
  if (!std::filesystem::exists(folder + "/sound.safetensors")) (void)safetensors_seeds(folder);
  const bool config = input.starts_with("{"), vocabulary = input.starts_with("[");
  const std::string model = home + "/model.safetensors";
  put_file(home + "/config.json", config ? input : config_json());
  put_file(home + "/vocab.json", vocabulary ? input.substr(1) : kVocabulary);
  put_file(model, config || vocabulary ? get_file(folder + "/sound.safetensors") : input);
  app::InspectRequest request;
  request.command = "import";
  request.output = folder + "/out";
  request.force = true;
  if (!config && !vocabulary) {
    attempt<CheckpointError>([&] { read_tensors(model); });
    request.words = {model};
    import_file(request);
  }
  request.words = {home};
  request.from = "huggingface-marian";
  request.vocabulary_source = request.vocabulary_target =
      std::string(TH_SOURCE_DIR) + "/tests/data/marian/joint.spm";
  import_file(request);
}

}  // namespace

Reader safetensors_reader() {
  return {"safetensors",
          16384,
          {ExitCode::kCheckpoint},
          {"\"dtype\":\"F32\"",
           "\"dtype\":\"F16\"",
           "\"dtype\":\"BF16\"",
           "\"dtype\":\"I8\"",
           "\"shape\":[",
           "\"data_offsets\":[",
           "\"__metadata__\":{",
           "\"deck\":\"",
           "\"state\":\"",
           "\"tokenizer_source\":\"AAAA\"",
           "\"vocabulary_source\":\"[\\\"",
           "\\nd_model = ",
           "num_heads = ",
           "exp_avg/",
           "null",
           "true",
           "[]",
           "{}",
           "[[",
           ",0]",
           "\"pad_token_id\":",
           "\"vocab_size\":",
           "\"d_model\":",
           "\"decoder_start_token_id\":",
           "\"encoder_layers\":",
           "embed_positions",
           "\\u0000",
           "\\ud800",
           "1.0",
           "1e300"},
          safetensors_seeds,
          read_safetensors};
}

}  // namespace th::fuzz
