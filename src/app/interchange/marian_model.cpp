#include <memory>
#include <set>

#include "app/interchange/marian.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/compare.hpp"
#include "th/io/formats/npz_reader.hpp"

// Where each parameter of a transformer of Marian goes. Its matrices are [inputs, outputs], its
// vectors [1, n].
namespace th::app {
namespace {

constexpr const char* kConfiguration = "special:model.yml";

using Shape = std::vector<std::int64_t>;

class MarianReader {
 public:
  explicit MarianReader(const std::string& path) : file_(std::make_shared<io::NpzReader>(path)) {
    if (!file_->arrays().contains(kConfiguration))
      throw CheckpointError(path + " has no " + kConfiguration + ": it is no model of Marian");
    used_.insert(kConfiguration);
    std::string yaml = file_->read_bytes(kConfiguration);
    yaml.resize(yaml.find_last_not_of('\0') + 1);
    options_ = read_marian_options(yaml, path);
  }

  ForeignModel read(const std::string& source_vocabulary, const std::string& target_vocabulary) {
    model_.path = file_->path();
    add_keys();
    add_tables(source_vocabulary, target_vocabulary);
    const MarianOptions& o = options_;
    for (std::int64_t i = 0; i < o.encoder_layers; ++i) {
      const std::string ours = "encoder.layers." + std::to_string(i) + ".",
                        theirs = "encoder_l" + std::to_string(i + 1) + "_";
      add_attention(ours + "self_attn", ours + "norm1", theirs + "self");
      add_feed_forward(ours, ours + "norm2", theirs + "ffn");
    }
    for (std::int64_t i = 0; i < o.decoder_layers; ++i) {
      const std::string ours = "decoder.layers." + std::to_string(i) + ".",
                        theirs = "decoder_l" + std::to_string(i + 1) + "_";
      add_attention(ours + "self_attn", ours + "norm1", theirs + "self");
      add_attention(ours + "multihead_attn", ours + "norm2", theirs + "context");
      add_feed_forward(ours, ours + "norm3", theirs + "ffn");
    }
    for (const std::string side : {"encoder", "decoder"}) {
      if (o.norm_at_top) model_.add_norm(side + ".norm", norm(side + "_top", ""));
      if (o.norm_embedding)
        model_.add_norm(side + ".layernorm_embedding", norm(side + "_emb", "_pre"));
    }
    refuse_others();
    return std::move(model_);
  }

 private:
  /// The shape of an array that the model needs.
  const Shape& shape(const std::string& name) {
    const auto found = file_->arrays().find(name);
    if (found == file_->arrays().end())
      throw CheckpointError(file_->path() + " has no " + name + ", which its options ask for");
    used_.insert(name);
    return found->second.shape;
  }

  void require_shape(const std::string& name, const Shape& due) {
    if (shape(name) != due)
      throw CheckpointError(file_->path() + ": " + name + " is " + io::shape_to_text(shape(name)) +
                            ", its options ask for " + io::shape_to_text(due));
  }

  TensorMaker vector(const std::string& name, std::int64_t count) {
    if (shape(name) != Shape{count}) require_shape(name, {1, count});
    return [file = file_, name] { return file->read(name); };
  }

  ForeignLinear linear(const std::string& weight, const std::string& bias, std::int64_t inputs,
                       std::int64_t outputs) {
    require_shape(weight, {inputs, outputs});
    return {[file = file_, weight, inputs, outputs] {
              return transposed(file->read(weight), inputs, outputs);
            },
            vector(bias, outputs)};
  }

  ForeignNorm norm(const std::string& theirs, const std::string& suffix) {
    return {vector(theirs + "_ln_scale" + suffix, options_.width),
            vector(theirs + "_ln_bias" + suffix, options_.width)};
  }

  /// Of a sublayer.
  ForeignNorm norm(const std::string& theirs) {
    return norm(theirs, options_.norm_before ? "_pre" : "");
  }

  void add_attention(const std::string& ours, const std::string& our_norm,
                     const std::string& theirs) {
    const auto part = [&](const std::string& letter) {
      return linear(theirs + "_W" + letter, theirs + "_b" + letter, options_.width, options_.width);
    };
    model_.add_attention(ours, {part("q"), part("k"), part("v"), part("o")});
    model_.add_norm(our_norm, norm(theirs + "_Wo"));
  }

  void add_feed_forward(const std::string& ours, const std::string& our_norm,
                        const std::string& theirs) {
    model_.add_linear(ours + "linear1",
                      linear(theirs + "_W1", theirs + "_b1", options_.width, options_.inner));
    model_.add_linear(ours + "linear2",
                      linear(theirs + "_W2", theirs + "_b2", options_.inner, options_.width));
    model_.add_norm(our_norm, norm(theirs + "_ffn"));
  }

  void add_keys() {
    const MarianOptions& o = options_;
    const auto key = [&](const char* name, const std::string& value) {
      model_.keys.emplace_back(std::string("model.") + name, value);
    };
    key("d_model", std::to_string(o.width));
    key("num_heads", std::to_string(o.heads));
    key("num_encoder_layers", std::to_string(o.encoder_layers));
    key("num_decoder_layers", std::to_string(o.decoder_layers));
    key("d_ff", std::to_string(o.inner));
    key("norm", o.norm_before ? "pre" : "post");
    key("norm_eps", "1e-6");
    key("final_norm", o.norm_at_top ? "true" : "false");
    key("embedding_norm", o.norm_embedding ? "true" : "false");
    key("activation", o.activation);
    key("position", "sinusoidal");
    key("position_layout", "halves");
    key("position_frequency", "marian");
    key("start", "zero");
    key("tie_embeddings", o.tied_source && o.tied_output ? "all"
                          : o.tied_source                ? "embeddings"
                          : o.tied_output                ? "decoder"
                                                         : "false");
  }

  /// Rows of a table of embeddings.
  std::int64_t table_rows(const std::string& name) {
    const Shape& found = shape(name);
    if (found.size() != 2 || found[1] != options_.width)
      throw CheckpointError(file_->path() + ": " + name + " is " + io::shape_to_text(found) +
                            ", its options ask for [tokens, " + std::to_string(options_.width) +
                            "]");
    return found[0];
  }

  void add_tables(const std::string& source_vocabulary, const std::string& target_vocabulary) {
    const bool shared = options_.tied_source;
    const std::string source = shared ? "Wemb" : "encoder_Wemb",
                      target = shared ? "Wemb" : "decoder_Wemb";
    const std::int64_t source_rows = table_rows(source), target_rows = table_rows(target);
    model_.source = marian_vocabulary(source_vocabulary, source_rows);
    model_.target = marian_vocabulary(target_vocabulary, target_rows);
    const auto array = [&](const std::string& name) {
      return [file = file_, name] { return file->read(name); };
    };
    model_.add_table("source_embedding.weight", model_.source.inputs, options_.width,
                     array(source));
    if (!shared)
      model_.add_table("target_embedding.weight", model_.target.inputs, options_.width,
                       array(target));
    add_output(target_rows);
  }

  void add_output(std::int64_t tokens) {
    const std::string by_rows = "decoder_ff_logit_out_Wt", by_columns = "decoder_ff_logit_out_W",
                      bias = "decoder_ff_logit_out_b";
    const std::int64_t width = options_.width;
    if (!options_.tied_output) {
      const bool old = !file_->arrays().contains(by_rows) && file_->arrays().contains(by_columns);
      require_shape(old ? by_columns : by_rows, old ? Shape{width, tokens} : Shape{tokens, width});
      model_.add_table("output_projection.weight", model_.target.outputs, width,
                       [file = file_, old, by_rows, by_columns, width, tokens] {
                         return old ? transposed(file->read(by_columns), width, tokens)
                                    : file->read(by_rows);
                       });
    }
    model_.add_output_bias(options_.output_bias ? vector(bias, tokens) : TensorMaker());
  }

  /// An array that no covered option has belongs to one that is not covered.
  void refuse_others() const {
    for (const auto& [name, array] : file_->arrays())
      if (!used_.contains(name))
        throw DeckError(file_->path() + ": " + name + " " + io::shape_to_text(array.shape) +
                        " is not covered: a transformer with its options has no such array");
  }

  std::shared_ptr<io::NpzReader> file_;
  MarianOptions options_;
  ForeignModel model_;
  std::set<std::string> used_;
};

}  // namespace

ForeignModel read_marian(const std::string& path, const std::string& source_vocabulary,
                         const std::string& target_vocabulary) {
  return MarianReader(path).read(source_vocabulary, target_vocabulary);
}

}  // namespace th::app
