#include "th/score/chrf.hpp"

#include "score/ngrams.hpp"
#include "score/signature.hpp"
#include "score/unicode.hpp"
#include "th/base/error.hpp"

#include <vector>

namespace th::score {

namespace {

constexpr std::size_t kCharacters = 6;
constexpr double kBetaSquared = 4;

struct Counts {
  std::int64_t hypothesis = 0, reference = 0, matched = 0;
};

bool is_punctuation(char32_t c) {
  return (c >= U'!' && c <= U'/') || (c >= U':' && c <= U'@') || (c >= U'[' && c <= U'`') ||
         (c >= U'{' && c <= U'~');
}

/// Words with one sign of punctuation taken off: the last, else the first.
std::vector<std::uint32_t> words_and_signs(std::u32string_view line, Numbering& number) {
  std::vector<std::uint32_t> words;
  for (const std::u32string_view word : split(line)) {
    std::size_t cut = 0;  // places where the word is parted
    if (word.size() > 1 && is_punctuation(word.back()))
      cut = word.size() - 1;
    else if (word.size() > 1 && is_punctuation(word.front()))
      cut = 1;
    if (cut > 0) words.push_back(number(word.substr(0, cut)));
    words.push_back(number(word.substr(cut)));
  }
  return words;
}

std::vector<std::uint32_t> characters_of(std::u32string_view line) {
  std::vector<std::uint32_t> characters;
  for (const char32_t c : line)
    if (!is_space(c)) characters.push_back(static_cast<std::uint32_t>(c) + 1);
  return characters;
}

void count(const std::vector<std::uint32_t>& hypothesis,
           const std::vector<std::uint32_t>& reference, std::size_t order, Counts& counts) {
  const auto h = sorted_ngrams(hypothesis, order), r = sorted_ngrams(reference, order);
  if (!r.empty()) counts.hypothesis += std::ssize(h);  // nothing could have matched
  counts.reference += std::ssize(r);
  counts.matched += matches(h, r);
}

double f_score(const std::vector<Counts>& orders) {
  double precision = 0, recall = 0, effective = 0;
  for (const Counts& c : orders) {
    if (c.hypothesis == 0 || c.reference == 0) continue;
    precision += static_cast<double>(c.matched) / static_cast<double>(c.hypothesis);
    recall += static_cast<double>(c.matched) / static_cast<double>(c.reference);
    effective += 1;
  }
  if (precision + recall == 0) return 0;
  precision /= effective;
  recall /= effective;
  return 100 * (1 + kBetaSquared) * precision * recall / (kBetaSquared * precision + recall);
}

}  // namespace

double corpus_chrf(std::span<const std::string> hypotheses, std::span<const std::string> references,
                   const ChrfOptions& options) {
  ensure(hypotheses.size() == references.size(), "corpus_chrf: unequal counts of lines");
  const auto word_order = static_cast<std::size_t>(options.word_order);
  std::vector<Counts> orders(kCharacters + word_order);
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    const std::u32string h = code_points(hypotheses[i]), r = code_points(references[i]);
    const auto h_characters = characters_of(h), r_characters = characters_of(r);
    for (std::size_t n = 1; n <= kCharacters; ++n)
      count(h_characters, r_characters, n, orders[n - 1]);
    if (word_order == 0) continue;
    Numbering number;
    const auto h_words = words_and_signs(h, number), r_words = words_and_signs(r, number);
    for (std::size_t n = 1; n <= word_order; ++n)
      count(h_words, r_words, n, orders[kCharacters + n - 1]);
  }
  return f_score(orders);
}

std::string signature(const ChrfOptions& options) {
  return "nrefs:1|case:mixed|eff:yes|nc:" + std::to_string(kCharacters) +
         "|nw:" + std::to_string(options.word_order) + "|space:no" + version_field();
}

std::string name_of(const ChrfOptions& options) {
  return "chrF2" + std::string(static_cast<std::size_t>(options.word_order), '+');
}

}  // namespace th::score
