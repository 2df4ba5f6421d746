#include "th/io/checkpoint/given_tokenizers.hpp"

#include <filesystem>

#include "th/base/error.hpp"
#include "th/data/text.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/compare.hpp"

namespace th::io {
namespace {

using config::VocabularyFrom;

/// Of data.vocabulary's path: a folder, or a run's latest, best or final, is a checkpoint, another
/// file a list of words.
data::TokenizerPair from_path(const std::string& path) {
  const std::string named = named_checkpoint(path);
  if (std::filesystem::is_directory(named)) return tokenizers_of(CheckpointReader(named));
  data::SavedTokenizer words{data::read_text(path).lines, ""};
  try {
    const auto both = data::restore_tokenizer(words);
    return {both, both};
  } catch (const DataError& error) {
    throw DataError(path + ": " + error.what());
  }
}

/// Throws where tokenizers from elsewhere are not as the deck wants them.
void require_fitting(const config::RunConfig& config, const data::TokenizerPair& pair,
                     const std::string& where) {
  const config::TokenizerKind wanted = config.data.tokenizer;
  for (const auto& one : {pair.source, pair.target}) {
    if (wanted != config::TokenizerKind::kWord && one->kind() != wanted)
      throw DeckError(std::string("data.tokenizer = ") + data::kind_name(wanted) + ", and " +
                      where + " has a " + data::kind_name(one->kind()) +
                      " tokenizer; leave the key out, or set data.vocabulary = text");
  }
  if (config::joint_vocabulary(config) && pair.source->tokens() != pair.target->tokens())
    throw DeckError(
        "data.joint_vocabulary, or model.tie_embeddings: one vocabulary is asked for, and " +
        where + " has two: " +
        vocabulary_difference(pair.source->tokens(), "the source", pair.target->tokens(),
                              "the target"));
}

}  // namespace

data::TokenizerPair tokenizers_of(const CheckpointReader& reader) {
  const CheckpointInfo& info = reader.info();
  if (info.source_tokens.empty())
    throw CheckpointError(reader.folder() +
                          " holds no vocabulary: it was trained on synthetic ids");
  try {
    return data::restore_tokenizers(info.source(), info.target());
  } catch (const DataError& error) {
    throw CheckpointError(reader.folder() + ": " + error.what());
  }
}

data::TokenizerPair given_tokenizers(const config::RunConfig& config,
                                     const CheckpointReader* resumed) {
  const config::DataSection& data = config.data;
  if (data.synthetic != config::Synthetic::kNone) return {};
  if (resumed != nullptr) return tokenizers_of(*resumed);
  if (!data.tokenizer_model.empty() || data.vocabulary == VocabularyFrom::kText) return {};
  const bool path = data.vocabulary == VocabularyFrom::kPath;
  const std::string& where = path ? data.vocabulary_path : config.checkpoint.init_from;
  if (where.empty()) return {};
  data::TokenizerPair pair =
      path ? from_path(where) : tokenizers_of(CheckpointReader(named_checkpoint(where)));
  require_fitting(config, pair, where);
  return pair;
}

void require_same_tokenizers(const config::RunConfig& config, const CheckpointReader& resumed) {
  const config::DataSection& data = config.data;
  const bool path = data.vocabulary == VocabularyFrom::kPath;
  if (!path && data.tokenizer_model.empty()) return;
  const data::TokenizerPair now =
      path ? from_path(data.vocabulary_path) : data::make_tokenizers(data, false, {}, {});
  const CheckpointInfo& info = resumed.info();
  if (now.source->saved() == info.source() && now.target->saved() == info.target()) return;
  throw DeckError(std::string(path ? "data.vocabulary" : "data.tokenizer_model") +
                  " holds other tokens or another model than the checkpoint " + resumed.folder() +
                  "; give the same file, or start a new run with checkpoint.init_from");
}

}  // namespace th::io
