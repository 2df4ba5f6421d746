#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::io {

/// The formats of a checkpoint with word vocabularies, and of one with tokenizers' models. The
/// latter is the newest that this program reads.
inline constexpr std::int64_t kFormatVersion = 2, kModelFormatVersion = 3;

/// Everything in a checkpoint but the tensors' values.
struct CheckpointInfo {
  std::int64_t format_version = kFormatVersion;
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::int64_t world_size = 1;
  std::int64_t zero_stage = 0;
  std::string deck;        ///< the resolved deck
  std::string build;       ///< build_line() of the writer
  std::string state_json;  ///< the trainer's state, opaque here
  std::string identity;    ///< the run's identity (contract.md)
  std::string run;         ///< the run's id; empty in older checkpoints
  std::vector<std::string> source_tokens, target_tokens;  ///< in id order
  /// Bytes of the tokenizers' models; empty if the tokens are words.
  std::string source_model, target_model;
  /// Tensors start at multiples of so many elements in the flat layout, so it decides which
  /// elements are in which shard.
  std::int64_t alignment = zero::FlatLayout::kAlign;
  std::vector<model::UnitSpec> units;
  std::vector<model::TensorAlias> aliases;
  std::vector<std::string> state_names;   ///< {"exp_avg", "exp_avg_sq"}, or empty for sgd
  std::vector<std::string> short_states;  ///< the states that are stored in bf16
  [[nodiscard]] data::SavedTokenizer source() const { return {source_tokens, source_model}; }
  [[nodiscard]] data::SavedTokenizer target() const { return {target_tokens, target_model}; }
  /// Whether there is a state of that name.
  [[nodiscard]] bool has_state(const std::string& name) const {
    return std::find(state_names.begin(), state_names.end(), name) != state_names.end();
  }
  /// Whether "parameters" or a state is stored in bf16.
  [[nodiscard]] bool is_short(const std::string& what) const {
    return std::find(short_states.begin(), short_states.end(), what) != short_states.end();
  }
};

/// "shard_00003.h5".
[[nodiscard]] std::string shard_name(std::int64_t rank);
/// The dataset's path: "parameters" and "ema" are their own, an optimizer state has
/// "optimizer/NAME".
[[nodiscard]] std::string dataset_path(const std::string& what);
/// The number of elements without padding in a rank's shard file.
[[nodiscard]] std::int64_t real_count(const zero::FlatLayout& layout, std::int64_t rank);
/// JSON of units, aliases and state names, as in model.h5's `layout` attribute.
[[nodiscard]] std::string layout_to_json(const CheckpointInfo& info);
/// The crc32c attribute of model.h5. It covers deck, state, layout, each token with a newline after
/// it, and the tokenizers' models, one after the other. They are not copied into one buffer,
/// because a save runs beside training, whose memory is planned to the byte.
[[nodiscard]] std::uint32_t covered_crc(const CheckpointInfo& info, const std::string& layout);
/// The inverse of layout_to_json; fills units, aliases and state_names. Throws CheckpointError.
void layout_from_json(const std::string& text, CheckpointInfo& info);

}  // namespace th::io
