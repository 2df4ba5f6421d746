#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "th/data/shortlist/word_translations.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

// Lexical shortlists give for each source sentence the target ids that its translation may have, so
// that decoding computes only their logits. docs/shortlist.md has the file's format.
namespace th::data {

/// How a shortlist is made.
struct ShortlistOptions {
  std::int64_t first = 100;  ///< number of frequent target ids that are candidates of all sentences
  std::int64_t best = 100;   ///< number of likeliest translations of each source id
  double threshold = 0;      ///< translations of less probability are left out
  std::int64_t iterations = 5;  ///< of learn_translations
};

/// The lists of a shortlist; no list has special ids.
struct ShortlistIds {
  std::vector<std::int32_t> first;              ///< by falling count, equal ones by id
  std::vector<std::vector<std::int32_t>> best;  ///< by source id; by falling probability
};

/// Learns the lists from pairs of these tokenizers' ids.
[[nodiscard]] ShortlistIds learn_shortlist(const IdPairs& pairs, const TokenizerPair& tokenizers,
                                           const ShortlistOptions& options);

/// Throws DeckError if the path names a file that is no shortlist, or is packed.
void require_no_other_than_shortlist(const std::string& path);

/// A shortlist of a model's vocabularies. Immutable.
class Shortlist {
 public:
  Shortlist(ShortlistIds lists, TokenizerPair tokenizers);
  /// Reads a file, plain or packed by gzip. Throws DataError, which names the file, if it is no
  /// shortlist, is damaged, or has other vocabularies than `tokenizers`, which are those of
  /// `model`.
  [[nodiscard]] static Shortlist read(const std::string& path, const TokenizerPair& tokenizers,
                                      const std::string& model);
  /// The text of its file.
  [[nodiscard]] std::string text() const;

  /// The ids that the translation of `source` may have, ascending, each once. They are unknown and
  /// end, the first ids, the best ones of each source id, those that the target's tokenizer makes
  /// of the source's own text (so that names and numbers can be copied), and `also`.
  [[nodiscard]] std::vector<std::int32_t> candidates(std::span<const std::int32_t> source,
                                                     std::span<const std::int32_t> also) const;
  [[nodiscard]] const ShortlistIds& lists() const noexcept { return lists_; }

 private:
  ShortlistIds lists_;
  TokenizerPair tokenizers_;
  bool one_vocabulary_;  ///< an id of the source is that of the target
};

}  // namespace th::data
