#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <set>

#include "app/interchange/marianmt.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/compare.hpp"
#include "th/io/formats/safetensors.hpp"
#include "th/model/parameters/sinusoids.hpp"

// Where each parameter of a MarianMT model goes. Its matrices are [outputs, inputs].
namespace th::app {
namespace {

using Shape = std::vector<std::int64_t>;

std::int64_t count_of(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string file_of(const MarianmtFiles& files) {
  const std::string path = files.folder + "/model.safetensors";
  if (!std::filesystem::exists(path))
    throw CheckpointError(files.folder +
                          " has no model.safetensors; other files of parameters "
                          "(pytorch_model.bin, parts) are not covered: save the model anew with "
                          "save_pretrained");
  return path;
}

class MarianmtReader {
 public:
  explicit MarianmtReader(MarianmtFiles files)
      : files_(std::move(files)),
        options_(read_marianmt_options(file_text(files_.folder + "/config.json"),
                                       files_.folder + "/config.json")),
        file_(std::make_shared<io::SafetensorsReader>(file_of(files_))) {}

  ForeignModel read() {
    model_.path = file_->path();
    const bool symbol = add_tables();
    for (std::int64_t i = 0; i < options_.encoder_layers; ++i) {
      const std::string ours = "encoder.layers." + std::to_string(i) + ".",
                        theirs = "model." + ours;
      add_attention(ours + "self_attn", ours + "norm1", theirs + "self_attn");
      add_feed_forward(ours, ours + "norm2", theirs);
    }
    for (std::int64_t i = 0; i < options_.decoder_layers; ++i) {
      const std::string ours = "decoder.layers." + std::to_string(i) + ".",
                        theirs = "model." + ours;
      add_attention(ours + "self_attn", ours + "norm1", theirs + "self_attn");
      add_attention(ours + "multihead_attn", ours + "norm2", theirs + "encoder_attn");
      add_feed_forward(ours, ours + "norm3", theirs);
    }
    add_keys(symbol);
    refuse_others();
    return std::move(model_);
  }

 private:
  [[nodiscard]] bool has(const std::string& name) const { return file_->tensors().contains(name); }

  [[nodiscard]] static TensorMaker maker(const std::shared_ptr<io::SafetensorsReader>& file,
                                         const std::string& name) {
    return [file, name] {
      Values values(static_cast<std::size_t>(count_of(file->tensors().at(name).shape)));
      file->read(name, 0, values);
      return values;
    };
  }

  TensorMaker tensor(const std::string& name, const Shape& due) {
    if (!has(name))
      throw CheckpointError(file_->path() + " has no " + name +
                            ", which its configuration asks for");
    if (const Shape& shape = file_->tensors().at(name).shape; shape != due)
      throw CheckpointError(file_->path() + ": " + name + " is " + io::shape_to_text(shape) +
                            ", its configuration asks for " + io::shape_to_text(due));
    used_.insert(name);
    return maker(file_, name);
  }

  ForeignLinear linear(const std::string& theirs, std::int64_t inputs, std::int64_t outputs) {
    return {tensor(theirs + ".weight", {outputs, inputs}), tensor(theirs + ".bias", {outputs})};
  }

  ForeignNorm norm(const std::string& theirs) {
    return {tensor(theirs + ".weight", {options_.width}),
            tensor(theirs + ".bias", {options_.width})};
  }

  void add_attention(const std::string& ours, const std::string& our_norm,
                     const std::string& theirs) {
    const std::int64_t width = options_.width;
    const auto part = [&](const std::string& name) {
      return linear(theirs + "." + name + "_proj", width, width);
    };
    model_.add_attention(ours, {part("q"), part("k"), part("v"), part("out")});
    model_.add_norm(our_norm, norm(theirs + "_layer_norm"));
  }

  void add_feed_forward(const std::string& ours, const std::string& our_norm,
                        const std::string& theirs) {
    model_.add_linear(ours + "linear1", linear(theirs + "fc1", options_.width, options_.inner));
    model_.add_linear(ours + "linear2", linear(theirs + "fc2", options_.inner, options_.width));
    model_.add_norm(our_norm, norm(theirs + "final_layer_norm"));
  }

  /// Embeddings and output. Whether decoding begins with a symbol's embedding, which is not zero.
  bool add_tables() {
    const std::vector<std::string> names = {"model.shared.weight",
                                            "model.encoder.embed_tokens.weight",
                                            "model.decoder.embed_tokens.weight", "lm_head.weight"};
    const auto first =
        std::find_if(names.begin(), names.end(), [&](const auto& name) { return has(name); });
    const Shape shape{options_.tokens, options_.width};
    const TensorMaker table = tensor(first == names.end() ? names[0] : *first, shape);
    const Values values = table();
    for (const std::string& name : names)
      if (has(name) && tensor(name, shape)() != values)
        throw DeckError(file_->path() + ": " + name + " has other values than " + *first +
                        "; embeddings that are not shared are not covered");
    const auto start = values.begin() + options_.start * options_.width;
    const bool symbol =
        std::any_of(start, start + options_.width, [](float x) { return x != 0.0F; });
    auto vocabularies = marianmt_vocabularies(files_, options_, symbol);
    model_.source = std::move(vocabularies.source);
    model_.target = std::move(vocabularies.target);
    model_.add_table("source_embedding.weight", model_.source.inputs, options_.width, table);
    model_.add_output_bias(has("final_logits_bias")
                               ? tensor("final_logits_bias", {1, options_.tokens})
                               : TensorMaker());
    return symbol;
  }

  void add_keys(bool symbol) {
    const auto key = [&](const char* name, const std::string& value) {
      model_.keys.emplace_back(std::string("model.") + name, value);
    };
    key("d_model", std::to_string(options_.width));
    key("num_heads", std::to_string(options_.heads));
    key("num_encoder_layers", std::to_string(options_.encoder_layers));
    key("num_decoder_layers", std::to_string(options_.decoder_layers));
    key("d_ff", std::to_string(options_.inner));
    key("dropout", options_.dropout);
    key("attention_dropout", options_.attention_dropout);
    key("activation_dropout", options_.activation_dropout);
    key("norm", "post");
    key("norm_eps", "1e-5");
    key("final_norm", "false");
    key("embedding_norm", "false");
    key("activation", options_.activation);
    key("position", "sinusoidal");
    key("position_layout", "halves");
    key("position_frequency", frequency());
    key("start", symbol ? "symbol" : "zero");
    key("tie_embeddings", "all");
  }

  /// That of the tables in the file, where it has any; else transformers' own.
  std::string frequency() {
    std::string found = "standard";
    for (const std::string side : {"encoder", "decoder"}) {
      const std::string name = "model." + side + ".embed_positions.weight";
      if (!has(name)) continue;
      const Shape& shape = file_->tensors().at(name).shape;
      const std::int64_t rows = shape.empty() ? 0 : shape[0];
      const Values table = tensor(name, {rows, options_.width})();
      found = is_table(table, rows, config::PositionFrequency::kStandard) ? "standard"
              : is_table(table, rows, config::PositionFrequency::kMarian) ? "marian"
                                                                          : "";
      if (found.empty())
        throw DeckError(file_->path() + ": " + name +
                        " is not covered: it holds neither transformers' sinusoids nor Marian's");
    }
    return found;
  }

  [[nodiscard]] bool is_table(const Values& values, std::int64_t rows,
                              config::PositionFrequency frequency) const {
    config::ModelSection model;
    model.d_model = options_.width;
    model.position_layout = config::PositionLayout::kHalves;
    model.position_frequency = frequency;
    Values due(values.size());
    model::fill_sinusoids(model, rows, due.data());
    constexpr float kRounding = 1e-4F;  // sines of angles in fp32
    return std::equal(values.begin(), values.end(), due.begin(),
                      [](float a, float b) { return std::fabs(a - b) <= kRounding; });
  }

  void refuse_others() const {
    for (const auto& [name, entry] : file_->tensors())
      if (!used_.contains(name))
        throw DeckError(file_->path() + ": " + name + " " + io::shape_to_text(entry.shape) +
                        " is not covered: a MarianMT model with its configuration has no such "
                        "tensor");
  }

  MarianmtFiles files_;
  MarianmtOptions options_;
  std::shared_ptr<io::SafetensorsReader> file_;
  ForeignModel model_;
  std::set<std::string> used_;
};

}  // namespace

ForeignModel read_marianmt(const MarianmtFiles& files) { return MarianmtReader(files).read(); }

}  // namespace th::app
