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
      "Each of these symbols is one token wherever it occurs, for example <2de>, a language tag.");
  key.why = wrong_with_symbols;
  return key;
}

Key vocabulary_key() {
  Key key = choice_or_path_key(
      "data.vocabulary", TH_AT(data.vocabulary),
      Choices<VocabularyFrom>{{"text", VocabularyFrom::kText},
                              {"checkpoint", VocabularyFrom::kCheckpoint}},
      VocabularyFrom::kPath, TH_AT(data.vocabulary_path),
      "Whose tokenizers the run takes. text: they are made from the training text; checkpoint: "
      "those of checkpoint.init_from, also where the key is not given. A path names a checkpoint, "
      "or a file with one word a line in id order for both sides, the four special ones first.");
  key.idle = [](const RunConfig& c) {
    return c.data.synthetic != Synthetic::kNone ? "a synthetic run reads no text" : "";
  };
  return key;
}

void add_training_of_pieces(std::vector<Key>& t) {
  t.push_back(fixed(
      of_pieces(boolean_key("data.byte_fallback", TH_AT(data.byte_fallback),
                            "A character outside the vocabulary becomes the bytes of its UTF-8, "
                            "for which there are 256 tokens. false: it becomes unknown."))));
  t.push_back(fixed(of_pieces(
      number_key("data.character_coverage", TH_AT(data.character_coverage), {.low = 0.9, .high = 1},
                 "Share of the text's characters, by occurrence, that are tokens themselves."))));
  t.push_back(fixed(of_pieces(
      choice_key("data.normalization", TH_AT(data.normalization),
                 Choices<Normalization>{{"identity", Normalization::kIdentity},
                                        {"nfkc", Normalization::kNfkc},
                                        {"nmt_nfkc", Normalization::kNmtNfkc},
                                        {"nfkc_cf", Normalization::kNfkcCf},
                                        {"nmt_nfkc_cf", Normalization::kNmtNfkcCf}},
                 "SentencePiece's rule for characters, part of its model. identity keeps them. "
                 "nfkc is Unicode's compatibility form, which makes full-width signs ASCII. nmt_ "
                 "also removes control characters; _cf makes all text lower-case."))));
  t.push_back(fixed(of_pieces(symbols_key())));
}

}  // namespace

void add_tokenizer(std::vector<Key>& t) {
  Key kind = choice_key("data.tokenizer", TH_AT(data.tokenizer),
                        Choices<TokenizerKind>{{"word", TokenizerKind::kWord},
                                               {"bpe", TokenizerKind::kBpe},
                                               {"unigram", TokenizerKind::kUnigram}},
                        "How lines become ids. word: words between white space; bpe and unigram: "
                        "SentencePiece's subwords.");
  kind.idle = [](const RunConfig& c) -> std::string {
    const bool said = c.data.synthetic != Synthetic::kNone;  // with the other keys of text
    // bpe and unigram are compared with what is brought.
    return said || c.data.tokenizer != TokenizerKind::kWord ? "" : not_made(c);
  };
  t.push_back(fixed(kind));
  Key size = integer_key("data.vocab_size", TH_AT(data.vocab_size), 0, 1 << 28,
                         "Number of tokens, with the special ones. word has at most so many, 0: no "
                         "limit. bpe and unigram have exactly so many, 0: 8000.");
  size.idle = [](const RunConfig& c) {
    return c.data.synthetic != Synthetic::kNone ? std::string() : not_made(c);
  };
  t.push_back(fixed(size));
  Key frequency = integer_key("data.min_freq", TH_AT(data.min_freq), 1, kMost,
                              "A word must occur this often to be in the vocabulary.");
  frequency.idle = [](const RunConfig& c) -> std::string {
    if (c.data.synthetic != Synthetic::kNone) return "";  // said with the other keys of text
    const std::string why = not_made(c);
    return why.empty() && c.data.tokenizer != TokenizerKind::kWord ? "data.tokenizer is not word"
                                                                   : why;
  };
  t.push_back(fixed(frequency));
  t.push_back(path_key("data.tokenizer_model", TH_AT(data.tokenizer_model),
                       "A SentencePiece model (bpe or unigram) that the run takes instead of "
                       "making one. Its special symbols become the ids 0 to 3."));
  t.push_back(path_key("data.target_tokenizer_model", TH_AT(data.target_tokenizer_model),
                       "The target's model, where it is not data.tokenizer_model."));
  t.push_back(
      fixed(of_making(choice_key("data.joint_vocabulary", TH_AT(data.joint_vocabulary),
                                 Choices<JointVocabulary>{{"auto", JointVocabulary::kAuto},
                                                          {"true", JointVocabulary::kTrue},
                                                          {"false", JointVocabulary::kFalse}},
                                 "Both sides have one vocabulary, made from both texts. auto: "
                                 "where model.tie_embeddings ties the source."))));
  t.push_back(vocabulary_key());
  add_training_of_pieces(t);
  Key sampling =
      number_key("data.subword_sampling", TH_AT(data.subword_sampling), {.low = 0, .high = 1},
                 "Every epoch segments the training text anew. bpe leaves out a merge with this "
                 "probability (0.1 is usual); unigram takes a segmentation's probability to this "
                 "power (0.1 to 0.5 is usual, 1 is the model's own). 0: never.");
  sampling.idle = [](const RunConfig& c) -> std::string {
    if (c.data.synthetic != Synthetic::kNone) return "a synthetic run reads no text";
    const bool word = c.data.tokenizer == TokenizerKind::kWord && not_made(c).empty();
    return word && c.data.subword_sampling > 0 ? "data.tokenizer is word" : "";
  };
  t.push_back(fixed(sampling));
}

}  // namespace th::config
