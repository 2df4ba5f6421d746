#include "config/key_table.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

// The keys of the deck's section [data] that say how lines become ids.
namespace th::config {
namespace {

/// Why a run looks at no key by which tokenizers are made; empty where it makes them.
std::string not_made(const RunConfig& c) {
  if (c.data.synthetic != Synthetic::kNone) return "a synthetic run reads no text";
  if (!c.data.tokenizer_model.empty()) return "data.tokenizer_model brings the tokenizer";
  if (c.data.vocabulary == VocabularyFrom::kPath) return "data.vocabulary brings the tokenizer";
  const bool unset = c.data.vocabulary == VocabularyFrom::kUnset;
  if (c.data.vocabulary == VocabularyFrom::kCheckpoint ||
      (unset && !c.checkpoint.init_from.empty()))
    return "the checkpoint brings the tokenizer";
  return "";
}

/// A key of SentencePiece's training.
Key of_pieces(Key key) {
  key.idle = [](const RunConfig& c) {
    const std::string why = not_made(c);
    if (!why.empty() || c.data.tokenizer != TokenizerKind::kWord) return why;
    return std::string("data.tokenizer is word");
  };
  return key;
}

Key of_making(Key key) {
  key.idle = not_made;
  return key;
}

/// Whether SentencePiece would take a symbol for a byte: "<0x41>".
bool names_a_byte(const std::string& symbol) {
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return symbol.size() == 6 && symbol.starts_with("<0x") && symbol.ends_with(">") &&
         digit(symbol[3]) && digit(symbol[4]);
}

/// What is wrong with symbols with commas: an empty one, one that stands there twice, has a blank
/// or what ends a deck's value, or one that every tokenizer has. Empty: nothing.
std::string wrong_with_symbols(const std::string& text) {
  constexpr std::array kSpecial = {"<pad>", "<unk>", "<s>", "</s>"};
  if (text.empty()) return "";
  std::set<std::string> seen;
  std::istringstream in(text + ",");
  for (std::string symbol; std::getline(in, symbol, ',');) {
    const bool plain = std::none_of(symbol.begin(), symbol.end(), [](char c) {
      return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '#';
    });
    if (symbol.empty()) return "has a comma without a symbol";
    if (!plain) return "has a blank, a # or a control character in '" + symbol + "'";
    if (std::find(kSpecial.begin(), kSpecial.end(), symbol) != kSpecial.end())
      return "names " + symbol + ", which every tokenizer has";
    if (names_a_byte(symbol))
      return "names " + symbol + ", which is SentencePiece's token of a byte";
    if (!seen.insert(symbol).second) return "names " + symbol + " twice";
  }
  return "";
}

Key symbols_key() {
  Key key = text_key(
      "data.user_symbols", TH_AT(data.user_symbols), "symbols with commas, without blanks",
      [](const std::string& text) { return wrong_with_symbols(text).empty(); },
      "symbols that are one token wherever they stand in the text, as <2de>, a language tag");
  key.why = wrong_with_symbols;
  return key;
}

Key vocabulary_key() {
  Key key = choice_or_path_key(
      "data.vocabulary", TH_AT(data.vocabulary),
      Choices<VocabularyFrom>{{"text", VocabularyFrom::kText},
                              {"checkpoint", VocabularyFrom::kCheckpoint}},
      VocabularyFrom::kPath, TH_AT(data.vocabulary_path),
      "whose tokenizers the run takes: made from the training text; those of "
      "checkpoint.init_from, also where the key is not given; or of a path: a checkpoint, or a "
      "file with one word a line in id order, the four special ones first, for both sides");
  key.idle = [](const RunConfig& c) {
    return c.data.synthetic != Synthetic::kNone ? "a synthetic run reads no text" : "";
  };
  return key;
}

void add_training_of_pieces(std::vector<Key>& t) {
  t.push_back(of_pieces(boolean_key(
      "data.byte_fallback", TH_AT(data.byte_fallback),
      "a character that the vocabulary lacks becomes the bytes of its UTF-8, 256 tokens for that; "
      "false: it becomes unknown")));
  t.push_back(of_pieces(
      number_key("data.character_coverage", TH_AT(data.character_coverage), {.low = 0.9, .high = 1},
                 "share of the text's characters, by occurrence, that are tokens themselves")));
  t.push_back(of_pieces(choice_key(
      "data.normalization", TH_AT(data.normalization),
      Choices<Normalization>{{"identity", Normalization::kIdentity},
                             {"nfkc", Normalization::kNfkc},
                             {"nmt_nfkc", Normalization::kNmtNfkc},
                             {"nfkc_cf", Normalization::kNfkcCf},
                             {"nmt_nfkc_cf", Normalization::kNmtNfkcCf}},
      "SentencePiece's rule for characters, part of its model: identity keeps them; nfkc is "
      "Unicode's compatibility form, which makes full-width signs ASCII; nmt_ also takes control "
      "characters out; _cf folds case, so that all text becomes lower-case")));
  t.push_back(of_pieces(symbols_key()));
}

}  // namespace

void add_tokenizer(std::vector<Key>& t) {
  Key kind = choice_key(
      "data.tokenizer", TH_AT(data.tokenizer),
      Choices<TokenizerKind>{{"word", TokenizerKind::kWord},
                             {"bpe", TokenizerKind::kBpe},
                             {"unigram", TokenizerKind::kUnigram}},
      "how lines become ids: words as white space parts them, or SentencePiece's subwords, by byte "
      "pair encoding or by a unigram model");
  kind.idle = [](const RunConfig& c) -> std::string {
    const bool said = c.data.synthetic != Synthetic::kNone;  // with the other keys of text
    // bpe and unigram are compared with what is brought.
    return said || c.data.tokenizer != TokenizerKind::kWord ? "" : not_made(c);
  };
  t.push_back(kind);
  Key size = integer_key("data.vocab_size", TH_AT(data.vocab_size), 0, 1 << 28,
                         "tokens of the vocabulary, special ones counted: word has at most so "
                         "many, 0: no cap; bpe and unigram exactly so many, 0: 8000");
  size.idle = [](const RunConfig& c) {
    return c.data.synthetic != Synthetic::kNone ? std::string() : not_made(c);
  };
  t.push_back(size);
  Key frequency = integer_key("data.min_freq", TH_AT(data.min_freq), 1, kMost,
                              "occurrences that a word needs to be in the vocabulary");
  frequency.idle = [](const RunConfig& c) -> std::string {
    if (c.data.synthetic != Synthetic::kNone) return "";  // said with the other keys of text
    const std::string why = not_made(c);
    return why.empty() && c.data.tokenizer != TokenizerKind::kWord ? "data.tokenizer is not word"
                                                                   : why;
  };
  t.push_back(frequency);
  t.push_back(path_key("data.tokenizer_model", TH_AT(data.tokenizer_model),
                       "a SentencePiece model, of bpe or unigram, in place of one that is made; "
                       "its special symbols become the ids 0 to 3"));
  t.push_back(path_key("data.target_tokenizer_model", TH_AT(data.target_tokenizer_model),
                       "the target's, where it is another one than data.tokenizer_model"));
  t.push_back(of_making(choice_key("data.joint_vocabulary", TH_AT(data.joint_vocabulary),
                                   Choices<JointVocabulary>{{"auto", JointVocabulary::kAuto},
                                                            {"true", JointVocabulary::kTrue},
                                                            {"false", JointVocabulary::kFalse}},
                                   "one vocabulary of both sides' text; auto: where "
                                   "model.tie_embeddings ties the source")));
  t.push_back(vocabulary_key());
  add_training_of_pieces(t);
  Key sampling = number_key(
      "data.subword_sampling", TH_AT(data.subword_sampling), {.low = 0, .high = 1},
      "training text is cut into other subwords in every epoch, 0: never. bpe: the probability "
      "that a merge is left out (0.1 is usual); unigram: the power to which a segmentation's "
      "probability is taken (0.1 to 0.5 is usual, 1 is the model's own)");
  sampling.idle = [](const RunConfig& c) -> std::string {
    if (c.data.synthetic != Synthetic::kNone) return "a synthetic run reads no text";
    const bool word = c.data.tokenizer == TokenizerKind::kWord && not_made(c).empty();
    return word && c.data.subword_sampling > 0 ? "data.tokenizer is word" : "";
  };
  t.push_back(sampling);
}

}  // namespace th::config
