#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/config/state_names.hpp"

#include <set>

// What a resume finds when it compares its deck with the checkpoint's.
namespace th::config {

namespace {

/// Whether texts of a key that differ mean the same: a value beside the default, which is another
/// key's.
bool means_the_same(const std::string& key, const RunConfig& a, const RunConfig& b) {
  const auto same = [&](double ModelSection::*rate) {
    const auto value = [rate](const ModelSection& m) { return m.*rate < 0 ? m.dropout : m.*rate; };
    return value(a.model) == value(b.model);
  };
  const DataSection &x = a.data, &y = b.data;
  const bool source = x.source_length() == y.source_length(),
             target = x.target_length() == y.target_length();
  if (key == "data.max_length") return source && target;
  if (key == "data.max_source_length") return source;
  if (key == "data.max_target_length") return target;
  if (key == "model.attention_dropout") return same(&ModelSection::attention_dropout);
  if (key == "model.activation_dropout") return same(&ModelSection::activation_dropout);
  return false;
}

}  // namespace

std::vector<KeyDifference> compare_for_resume(const std::string& checkpoint_deck,
                                              const LoadedDeck& given) {
  static const std::set<std::string> kFatal{"data.synthetic",
                                            "data.synthetic_length",
                                            "data.tokenizer",
                                            "data.vocab_size",
                                            "data.min_freq",
                                            "data.max_length",
                                            "data.max_source_length",
                                            "data.max_target_length",
                                            "data.long_lines",
                                            "data.max_ratio",
                                            "data.empty_lines",
                                            "data.train_weights",
                                            "data.train_temperature",
                                            "data.batch_size",
                                            "data.batch_tokens",
                                            "data.sort_window",
                                            "run.seed",
                                            "optimizer.name",
                                            "data.joint_vocabulary",
                                            "data.byte_fallback",
                                            "data.character_coverage",
                                            "data.normalization",
                                            "data.user_symbols",
                                            "data.subword_sampling"};
  // A corpus may lie elsewhere, packed or not: a hash of its lines says whether it is the same. So
  // may a tokenizer's file, which is compared with the checkpoint's.
  static const std::set<std::string> kExpected{"run.output_dir", "checkpoint.resume",
                                               "checkpoint.init_from", "train.micro_batches",
                                               "data.index_dir"};
  LoadedDeck before;
  try {
    before = load_deck_text(checkpoint_deck, "checkpoint", "/", {});
  } catch (const DeckError& error) {  // nothing that the user's deck could put right
    throw CheckpointError(std::string("this build can't read the checkpoint's own deck:\n") +
                          error.what());
  }
  std::vector<KeyDifference> out;
  for (std::size_t i = 0; i < given.entries.size(); ++i) {
    const ResolvedEntry& now = given.entries[i];
    const ResolvedEntry& then = before.entries[i];
    if (now.value == then.value || kExpected.contains(now.key)) continue;
    if (means_the_same(now.key, before.config, given.config)) continue;
    const bool model = now.key.rfind("model.", 0) == 0 && now.key != "model.gradient_checkpointing";
    // With another momentum the optimizer may keep other states.
    const bool states = now.key == "optimizer.momentum" &&
                        optimizer_rule(before.config) != optimizer_rule(given.config);
    const bool fatal = model || states || kFatal.contains(now.key);
    out.push_back({now.key, then.value, now.value, fatal});
  }
  return out;
}

}  // namespace th::config
