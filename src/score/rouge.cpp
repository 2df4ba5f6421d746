#include "th/score/rouge.hpp"

#include "score/ngrams.hpp"
#include "score/signature.hpp"
#include "score/unicode.hpp"
#include "th/base/error.hpp"
#include "th/score/names.hpp"

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace th::score {

namespace {

using Units = std::vector<std::uint32_t>;

/// A to Z in lower case, and the two other characters whose lower case is a Latin letter: the
/// Kelvin sign, and I with a dot, whose second part is no letter.
char32_t lower(char32_t c) {
  constexpr char32_t kKelvin = 0x212A, kDottedI = 0x130;
  if (c >= U'A' && c <= U'Z') return c + (U'a' - U'A');
  return c == kKelvin ? U'k' : c == kDottedI ? U'i' : c;
}

bool is_alphanumeric(char32_t c) { return (c >= U'a' && c <= U'z') || (c >= U'0' && c <= U'9'); }

Units latin_words(std::u32string_view text, Numbering& number) {
  constexpr char32_t kDottedI = 0x130;
  Units units;
  std::u32string word;
  const auto end_word = [&] {
    if (!word.empty()) units.push_back(number(word));
    word.clear();
  };
  for (const char32_t c : text) {
    const char32_t small = lower(c);
    if (is_alphanumeric(small)) word += small;
    if (!is_alphanumeric(small) || c == kDottedI) end_word();
  }
  end_word();
  return units;
}

Units units_of(std::u32string_view text, RougeUnits kind, Numbering& number) {
  if (kind == RougeUnits::kWords) return latin_words(text, number);
  Units units;
  for (const char32_t c : text) {
    const char32_t small = c < 0x80 ? lower(c) : c;
    if (!is_space(c)) units.push_back(number({&small, 1}));
  }
  return units;
}

RougeScore from_counts(std::int64_t matched, std::int64_t hypothesis, std::int64_t reference) {
  RougeScore score;
  score.precision =
      static_cast<double>(matched) / static_cast<double>(std::max<std::int64_t>(1, hypothesis));
  score.recall =
      static_cast<double>(matched) / static_cast<double>(std::max<std::int64_t>(1, reference));
  const double sum = score.precision + score.recall;
  score.f = sum > 0 ? 2 * score.precision * score.recall / sum : 0;
  return score;
}

RougeScore by_ngrams(const Units& h, const Units& r, std::size_t n) {
  const auto mine = sorted_ngrams(h, n), theirs = sorted_ngrams(r, n);
  return from_counts(matches(mine, theirs), std::ssize(mine), std::ssize(theirs));
}

/// Lengths of longest common subsequences of the first i units of one and the first j of the other.
class SubsequenceTable {
 public:
  SubsequenceTable(const Units& r, const Units& h)
      : columns_(h.size() + 1), lengths_((r.size() + 1) * columns_) {
    for (std::size_t i = 1; i <= r.size(); ++i) {
      for (std::size_t j = 1; j <= h.size(); ++j) {
        lengths_[i * columns_ + j] = r[i - 1] == h[j - 1]
                                         ? (*this)(i - 1, j - 1) + 1
                                         : std::max((*this)(i - 1, j), (*this)(i, j - 1));
      }
    }
  }
  std::int32_t operator()(std::size_t i, std::size_t j) const { return lengths_[i * columns_ + j]; }
  [[nodiscard]] std::int32_t whole() const { return lengths_.back(); }

 private:
  std::size_t columns_;
  std::vector<std::int32_t> lengths_;
};

/// Marks the places in `r` of one of the longest common subsequences: read from the end, a step
/// over a unit of `r` before one over a unit of `h` where both are as good. Which one it is decides
/// the union.
void mark_common(const Units& r, const Units& h, std::vector<bool>& marked) {
  const SubsequenceTable table(r, h);
  for (std::size_t i = r.size(), j = h.size(); i > 0 && j > 0;) {
    if (r[i - 1] == h[j - 1]) {
      marked[--i] = true;
      --j;
    } else if (table(i, j - 1) > table(i - 1, j)) {
      --j;
    } else {
      --i;
    }
  }
}

/// Each sentence of the reference against all of the hypothesis; a unit counts at most as often as
/// it occurs on either side.
RougeScore by_sentences(const std::vector<Units>& h, const std::vector<Units>& r) {
  std::unordered_map<std::uint32_t, std::int64_t> left_h, left_r;
  std::int64_t h_size = 0, r_size = 0, hits = 0;
  for (const Units& sentence : h) {
    h_size += std::ssize(sentence);
    for (const std::uint32_t unit : sentence) ++left_h[unit];
  }
  for (const Units& sentence : r) {
    r_size += std::ssize(sentence);
    for (const std::uint32_t unit : sentence) ++left_r[unit];
  }
  for (const Units& sentence : r) {
    std::vector<bool> marked(sentence.size());
    for (const Units& other : h) mark_common(sentence, other, marked);
    for (std::size_t i = 0; i < sentence.size(); ++i) {
      if (!marked[i] || left_h[sentence[i]] == 0 || left_r[sentence[i]] == 0) continue;
      ++hits;
      --left_h[sentence[i]];
      --left_r[sentence[i]];
    }
  }
  return from_counts(hits, h_size, r_size);
}

std::vector<Units> sentences_of(std::u32string_view text, RougeUnits kind, Numbering& number) {
  std::vector<Units> sentences;
  while (!text.empty()) {
    const std::u32string_view sentence = text.substr(0, text.find(U'\n'));
    text.remove_prefix(std::min(text.size(), sentence.size() + 1));
    if (!sentence.empty()) sentences.push_back(units_of(sentence, kind, number));
  }
  return sentences;
}

void add(RougeScore& sum, const RougeScore& score, double share) {
  sum.precision += share * score.precision;
  sum.recall += share * score.recall;
  sum.f += share * score.f;
}

}  // namespace

Rouge corpus_rouge(std::span<const std::string> hypotheses, std::span<const std::string> references,
                   const RougeOptions& options) {
  ensure(hypotheses.size() == references.size(), "corpus_rouge: unequal counts of lines");
  Rouge mean;
  const double share = 1 / static_cast<double>(std::max<std::size_t>(1, hypotheses.size()));
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    Numbering number;
    const std::u32string h_text = code_points(hypotheses[i]), r_text = code_points(references[i]);
    const Units h = units_of(h_text, options.units, number);
    const Units r = units_of(r_text, options.units, number);
    add(mean.one, by_ngrams(h, r, 1), share);
    add(mean.two, by_ngrams(h, r, 2), share);
    add(mean.longest, from_counts(SubsequenceTable(r, h).whole(), std::ssize(h), std::ssize(r)),
        share);
    add(mean.summary,
        by_sentences(sentences_of(h_text, options.units, number),
                     sentences_of(r_text, options.units, number)),
        share);
  }
  return mean;
}

std::string signature(const RougeOptions& options) {
  return std::string("nrefs:1|case:lc|units:") + name_in(kRougeUnits, options.units) + "|stem:no" +
         version_field();
}

}  // namespace th::score
