#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "app/interchange/marianmt.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

namespace th::app {
namespace {

using Json = nlohmann::json;

/// Entries that change what a model computes, each with what transformers takes where it is missing
/// and the values that are covered.
struct CoveredEntry {
  const char* name;
  Json otherwise;
  std::vector<Json> values;
};

const std::vector<CoveredEntry>& covered_entries() {
  static const std::vector<CoveredEntry> kAll = {
      {"model_type", "", {"marian"}},
      {"activation_function", "gelu", {"swish", "silu", "relu", "gelu"}},
      {"scale_embedding", false, {true}},
      {"share_encoder_decoder_embeddings", true, {true}},
      {"tie_word_embeddings", true, {true}},
      {"static_position_embeddings", true, {true}},
      {"normalize_before", false, {false}},
      {"normalize_embedding", false, {false}},
      {"add_final_layer_norm", false, {false}}};
  return kAll;
}

class JsonConfiguration {
 public:
  JsonConfiguration(const std::string& text, const std::string& path) : path_(path) {
    try {
      json_ = parse_json(text);
    } catch (const Json::exception& error) {
      throw CheckpointError(path + " can't be read: " + error.what());
    }
    if (!json_.is_object()) throw CheckpointError(path + " is no JSON object");
  }

  [[nodiscard]] Json value(const char* name, const Json& otherwise) const {
    const auto found = json_.find(name);
    return found == json_.end() || found->is_null() ? otherwise : *found;
  }
  /// At least `least`.
  [[nodiscard]] std::int64_t number(const char* name, std::int64_t least,
                                    const Json& otherwise = nullptr) const {
    const Json found = value(name, otherwise);
    if (!found.is_number_integer() || found.get<std::int64_t>() < least)
      throw CheckpointError(path_ + ": " + name + " is " + json_text(found) + ", no number from " +
                            std::to_string(least));
    return found.get<std::int64_t>();
  }
  [[nodiscard]] std::string rate(const char* name, const Json& otherwise) const {
    const Json found = value(name, otherwise);
    if (!found.is_number())
      throw CheckpointError(path_ + ": " + name + " is " + json_text(found) + ", no number");
    return json_text(found);
  }

 private:
  std::string path_;
  Json json_;
};

std::string refused_entry(const JsonConfiguration& config) {
  std::string text;
  const auto refuse = [&](const std::string& name, const Json& value, const std::string& values) {
    text += (text.empty() ? "" : "\n") + name + " = " + json_text(value) +
            " is not covered; covered " + values;
  };
  for (const CoveredEntry& option : covered_entries()) {
    const Json value = config.value(option.name, option.otherwise);
    if (std::count(option.values.begin(), option.values.end(), value) > 0) continue;
    std::string values;
    for (const Json& one : option.values) values += (values.empty() ? "" : ", ") + json_text(one);
    refuse(option.name, value, values);
  }
  for (const auto& [name, other] : {std::pair("decoder_attention_heads", "encoder_attention_heads"),
                                    std::pair("decoder_ffn_dim", "encoder_ffn_dim"),
                                    std::pair("decoder_vocab_size", "vocab_size")}) {
    const Json due = config.value(other, nullptr), value = config.value(name, due);
    if (value != due) refuse(name, value, std::string("that of ") + other + ", " + json_text(due));
  }
  return text;
}

}  // namespace

MarianmtOptions read_marianmt_options(const std::string& json, const std::string& path) {
  const JsonConfiguration config(json, path);
  if (const std::string refused = refused_entry(config); !refused.empty())
    throw DeckError(path + ": " + refused);
  MarianmtOptions out;
  out.width = config.number("d_model", 1);
  out.heads = config.number("encoder_attention_heads", 1);
  out.inner = config.number("encoder_ffn_dim", 1);
  out.encoder_layers = config.number("encoder_layers", 1);
  out.decoder_layers = config.number("decoder_layers", 1);
  out.tokens = config.number("vocab_size", 3);
  out.pad = config.number("pad_token_id", 0);
  out.end = config.number("eos_token_id", 0, 0);
  out.start = config.number("decoder_start_token_id", 0, out.pad);
  for (const std::int64_t id : {out.pad, out.end, out.start})
    if (id >= out.tokens)
      throw CheckpointError(path + ": the token id " + std::to_string(id) +
                            " is beyond vocab_size = " + std::to_string(out.tokens));
  out.activation = config.value("activation_function", "gelu").get<std::string>();
  if (out.activation == "silu") out.activation = "swish";
  out.dropout = config.rate("dropout", 0.1);
  out.attention_dropout = config.rate("attention_dropout", 0.0);
  out.activation_dropout = config.rate("activation_dropout", 0.0);
  return out;
}

}  // namespace th::app
