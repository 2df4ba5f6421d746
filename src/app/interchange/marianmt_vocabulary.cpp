#include <algorithm>
#include <filesystem>
#include <set>

#include "app/interchange/marianmt.hpp"
#include "th/base/error.hpp"
#include "th/data/tokenizer/model_order.hpp"

namespace th::app {
namespace {

/// A SentencePiece model's bytes.
struct Pieces {
  std::string path, bytes;
};

Pieces pieces_of(const std::string& given, const std::string& folder, const std::string& side) {
  const std::string path = given.empty() ? folder + "/" + side + ".spm" : given;
  if (given.empty() && !std::filesystem::exists(path))
    throw DataError(folder + " has no " + side + ".spm: give --vocabulary-" + side +
                    ", a SentencePiece model");
  return {path, file_text(path)};
}

/// Tokens in id order, by a SentencePiece model's own ids, with padding behind them.
std::vector<std::string> own_ids(const Pieces& source, const Pieces& target,
                                 const MarianmtFiles& files, const MarianmtOptions& options) {
  const data::ModelIds model = data::read_model_ids(source.bytes, source.path);
  std::vector<std::string> tokens(static_cast<std::size_t>(options.tokens));
  std::int64_t pieces = 0;
  for (std::size_t id = 0; id < model.ids.size(); ++id) {
    const std::int32_t theirs = model.ids[id];
    if (theirs < 0) continue;
    ++pieces;
    if (theirs < options.tokens)
      tokens[static_cast<std::size_t>(theirs)] = model.tokenizer.tokens[id];
  }
  const std::string without = files.folder + " has no vocab.json, which gives the ids";
  if (source.bytes != target.bytes)
    throw DataError(without + " where " + source.path + " and " + target.path + " differ");
  if (pieces + 1 != options.tokens || options.pad != pieces || model.ids[data::kEnd] != options.end)
    throw DataError(without + ": those of " + source.path + ", " + std::to_string(pieces) +
                    " pieces and the end " + std::to_string(model.ids[data::kEnd]) +
                    ", do not fit vocab_size = " + std::to_string(options.tokens) +
                    ", pad_token_id = " + std::to_string(options.pad) +
                    " and eos_token_id = " + std::to_string(options.end));
  tokens[static_cast<std::size_t>(options.pad)] = "<pad>";
  return tokens;
}

/// Marks of languages become pieces that cut them out of a line, where no model has them.
void rename_marks(std::vector<std::string>& tokens, const Pieces& source, const Pieces& target) {
  std::set<std::string> known;
  for (const Pieces* side : {&source, &target})
    for (std::string& text : data::ordinary_pieces(side->bytes, side->path))
      known.insert(std::move(text));
  for (std::string& token : tokens)
    if (data::is_language_mark(token) && !known.contains(token))
      token = data::language_piece(token);
}

}  // namespace

MarianmtVocabularies marianmt_vocabularies(const MarianmtFiles& files,
                                           const MarianmtOptions& options,
                                           bool starts_with_symbol) {
  const Pieces source = pieces_of(files.source_pieces, files.folder, "source"),
               target = pieces_of(files.target_pieces, files.folder, "target");
  const std::string list = files.folder + "/vocab.json";
  std::vector<std::string> tokens = std::filesystem::exists(list)
                                        ? read_words(list, options.tokens)
                                        : own_ids(source, target, files, options);
  const auto id_of = [&](const char* symbol) -> std::int64_t {
    const auto found = std::find(tokens.begin(), tokens.end(), symbol);
    return found == tokens.end() ? -1 : found - tokens.begin();
  };
  const ForeignSymbols symbols{options.pad, id_of("<unk>"), id_of("<s>"), options.end};
  if (symbols.unknown < 0) throw DataError(list + ": has no <unk>");
  if (symbols.begin >= 0 && starts_with_symbol)
    throw DeckError(list + ": <s> beside a start symbol whose embedding is not zero (id " +
                    std::to_string(options.start) + ") is not covered");
  VocabularyRows rows;
  rows.inputs = rows.outputs = rows_in_order(symbols, options.tokens);
  if (starts_with_symbol) rows.inputs[data::kBegin] = options.start;
  std::vector<std::string> others;
  for (std::size_t id = data::kEnd + 1; id < rows.inputs.size(); ++id)
    others.push_back(tokens[static_cast<std::size_t>(rows.inputs[id])]);
  rename_marks(others, source, target);
  rows.tokenizer.tokens = {"<pad>", "<unk>", "<s>", "</s>"};
  rows.tokenizer.tokens.insert(rows.tokenizer.tokens.end(), others.begin(), others.end());
  MarianmtVocabularies out{rows, rows};
  out.source.tokenizer.model = data::model_in_order(source.bytes, others, source.path);
  out.target.tokenizer.model = data::model_in_order(target.bytes, others, target.path);
  return out;
}

}  // namespace th::app
