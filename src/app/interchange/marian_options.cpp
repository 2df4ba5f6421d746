#include <algorithm>
#include <charconv>
#include <map>

#include "app/interchange/marian.hpp"
#include "th/base/error.hpp"
#include "th/io/formats/yaml_map.hpp"

namespace th::app {
namespace {

using Texts = std::vector<std::string>;

/// Options of Marian that change what a transformer computes, each with its default and the values
/// that are covered.
struct Covered {
  const char* name;
  const char* otherwise;  ///< where a configuration of an older Marian lacks it
  Texts values;
};

const std::vector<Covered>& covered() {
  static const std::vector<Covered> kAll = {
      {"type", "", {"transformer"}},
      {"transformer-decoder-autoreg", "self-attention", {"self-attention"}},
      {"transformer-ffn-activation", "swish", {"swish", "relu"}},
      {"transformer-ffn-depth", "2", {"2"}},
      {"transformer-decoder-ffn-depth", "0", {"0", "2"}},
      {"transformer-attention-mask", "default", {"default"}},
      {"transformer-no-projection", "false", {"false"}},
      {"transformer-no-bias", "false", {"false"}},
      {"transformer-no-affine", "false", {"false"}},
      {"transformer-rnn-projection", "false", {"false"}},
      {"transformer-pool", "false", {"false"}},
      {"transformer-train-position-embeddings", "false", {"false"}},
      {"transformer-train-positions", "false", {"false"}},
      {"transformer-disable-position-embeddings", "false", {"false"}},
      {"transformer-alibi-shift", "false", {"false"}},
      {"transformer-alibi-trainable", "false", {"false"}},
      {"right-left", "false", {"false"}},
      {"ulr", "false", {"false"}},
      {"factors-dim-emb", "0", {"0"}},
      {"lemma-dim-emb", "0", {"0"}},
      {"lemma-dependency", "", {""}},
      // Letters of dropout are left out before the comparison.
      {"transformer-preprocess", "", {"", "n"}},
      {"transformer-postprocess", "dan", {"an", "a"}},
      {"transformer-postprocess-emb", "d", {"", "n"}},
      {"transformer-postprocess-top", "", {"", "n"}}};
  return kAll;
}

bool is_process(std::string_view name) {
  return name.starts_with("transformer-preprocess") || name.starts_with("transformer-postprocess");
}

std::string quoted(const std::string& value) { return value.empty() ? "''" : value; }

class Configuration {
 public:
  Configuration(const std::string& yaml, const std::string& path) : path_(path) {
    for (io::YamlEntry& entry : io::read_yaml_map(yaml, path + ": special:model.yml"))
      entries_[entry.key] = std::move(entry);
  }

  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) return otherwise;
    return found->second.values.empty() ? "" : found->second.values[0];
  }
  [[nodiscard]] Texts list(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? Texts() : found->second.values;
  }
  [[nodiscard]] bool flag(const std::string& name) const { return text(name, "false") == "true"; }
  /// A number from 1.
  [[nodiscard]] std::int64_t number(const std::string& name) const {
    const std::string value = text(name, "");
    std::int64_t number = 0;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
    if (read.ec != std::errc() || read.ptr != value.data() + value.size() || number < 1)
      throw CheckpointError(path_ + ": " + name + " of its configuration is '" + value +
                            "', no number from 1");
    return number;
  }

 private:
  std::string path_;
  std::map<std::string, io::YamlEntry> entries_;
};

/// An option's value without what only training does.
std::string compared(const Covered& option, const Configuration& config) {
  std::string value = config.text(option.name, option.otherwise);
  if (is_process(option.name)) std::erase(value, 'd');
  return value;
}

/// A line for each value that is not covered.
std::string not_covered(const Configuration& config) {
  std::string text;
  const auto refuse = [&](const std::string& name, const std::string& value,
                          const std::string& values) {
    text += (text.empty() ? "" : "\n") + name + " = " + quoted(value) +
            " is not covered; covered " + values;
  };
  for (const Covered& option : covered()) {
    if (std::count(option.values.begin(), option.values.end(), compared(option, config)) > 0)
      continue;
    std::string values;
    for (const std::string& value : option.values)
      values += (values.empty() ? "" : ", ") + quoted(value);
    refuse(option.name, config.text(option.name, option.otherwise), values);
  }
  for (const std::string& tied : config.list("transformer-tied-layers"))
    if (!tied.empty() && text.find("tied-layers") == std::string::npos)
      refuse("transformer-tied-layers", tied + ", …", "none");
  for (const std::string& type : config.list("input-types"))
    if (type != "sequence" && !type.empty()) refuse("input-types", type, "sequence");
  const bool before = config.text("transformer-preprocess", "").find('n') != std::string::npos;
  const bool after = config.text("transformer-postprocess", "dan").find('n') != std::string::npos;
  if (text.empty() && before == after)
    refuse("transformer-preprocess",
           config.text("transformer-preprocess", "") + " beside " +
               config.text("transformer-postprocess", "dan"),
           "a norm before each sublayer (n, da) or behind it ('', dan)");
  const std::string inner = config.text("transformer-decoder-dim-ffn", "0");
  if (inner != "0" && inner != config.text("transformer-dim-ffn", ""))
    refuse("transformer-decoder-dim-ffn", inner, "0 and transformer-dim-ffn");
  return text;
}

}  // namespace

MarianOptions read_marian_options(const std::string& yaml, const std::string& path) {
  const Configuration config(yaml, path);
  if (const std::string refused = not_covered(config); !refused.empty())
    throw DeckError(path + ": " + refused);
  MarianOptions out;
  out.width = config.number("dim-emb");
  out.heads = config.number("transformer-heads");
  out.inner = config.number("transformer-dim-ffn");
  out.encoder_layers = config.number("enc-depth");
  out.decoder_layers = config.number("dec-depth");
  out.activation = config.text("transformer-ffn-activation", "swish");
  const auto has_norm = [&](const char* name) {
    return config.text(name, "").find('n') != std::string::npos;
  };
  out.norm_before = has_norm("transformer-preprocess");
  out.norm_at_top = has_norm("transformer-postprocess-top");
  out.norm_embedding = has_norm("transformer-postprocess-emb");
  out.tied_source = config.flag("tied-embeddings-all") || config.flag("tied-embeddings-src");
  out.tied_output = config.flag("tied-embeddings-all") || config.flag("tied-embeddings");
  out.output_bias = !config.flag("output-omit-bias");
  return out;
}

}  // namespace th::app
