#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "app/interchange/vocabularies.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"

namespace th::app {

using Values = std::vector<float>;
/// Reads a tensor of another program's file, or makes one of several.
using TensorMaker = std::function<Values()>;

/// A linear layer of another program: y = W x + b.
struct ForeignLinear {
  TensorMaker weight;  ///< [outputs, inputs]
  TensorMaker bias;    ///< [outputs]
};

/// A layer norm of another program.
struct ForeignNorm {
  TensorMaker weight, bias;  ///< [width]
};

/// The four products of an attention.
struct ForeignAttention {
  ForeignLinear query, key, value, output;
};

/// A trained model of another program in this one's terms.
struct ForeignModel {
  std::string path;  ///< of its file, for messages
  /// Keys of the deck that are the model's, in order: {"model.d_model", "512"}.
  std::vector<std::pair<std::string, std::string>> keys;
  VocabularyRows source, target;
  std::map<std::string, TensorMaker> tensors;  ///< by the names of a checkpoint, tied ones once

  void add(const std::string& name, TensorMaker tensor) { tensors[name] = std::move(tensor); }
  void add_linear(const std::string& name, const ForeignLinear& linear);
  void add_norm(const std::string& name, const ForeignNorm& norm);
  void add_attention(const std::string& name, const ForeignAttention& attention);
  /// A matrix with a row a token, in the order of `rows`; a row that has none is zero.
  void add_table(const std::string& name, std::vector<std::int64_t> rows, std::int64_t width,
                 TensorMaker table);
  /// The output's bias, a number a token. `bias` empty: there is none.
  void add_output_bias(TensorMaker bias);
};

/// A token's bias that has no row in the other program's output: its probability, about
/// exp(-100), is 0 in every type, so that the softmax over all tokens is the other program's; and
/// label smoothing, which asks for a share of every token, stays finite.
inline constexpr float kNoToken = -100;

/// [rows, columns] turned.
[[nodiscard]] Values transposed(const Values& values, std::int64_t rows, std::int64_t columns);

/// Everything of a checkpoint of the model but its tensors. `deck`: the path of a deck whose other
/// keys the checkpoint's deck gets; empty: defaults, and no training text. Throws DeckError,
/// DataError, and CheckpointError where a tensor of the deck's model is missing.
[[nodiscard]] io::CheckpointInfo describe(const ForeignModel& model, const std::string& deck);

/// Gives the model's tensors for io::build_checkpoint: makes one at a time and keeps the last.
class ForeignTensors {
 public:
  ForeignTensors(const ForeignModel& model, const io::CheckpointInfo& info);
  void read(const std::string& tensor, std::int64_t begin, std::span<float> out);

 private:
  const ForeignModel& model_;
  std::map<std::string, std::int64_t> counts_;
  std::string last_;
  Values values_;
};

}  // namespace th::app
