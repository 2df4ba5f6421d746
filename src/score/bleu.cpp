#include "th/score/bleu.hpp"

#include "score/ngrams.hpp"
#include "score/signature.hpp"
#include "th/base/error.hpp"
#include "th/score/names.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace th::score {

namespace {

constexpr double kFloor = 0.1, kAddK = 1;  // sacrebleu's, of Chen and Cherry 2014

double smoothing_value(const BleuOptions& options) {
  return options.smoothing_value.value_or(options.smoothing == Smoothing::kFloor ? kFloor : kAddK);
}

std::vector<std::uint32_t> numbered(std::string_view line, BleuTokenizer tokenizer,
                                    Numbering& number) {
  std::vector<std::uint32_t> words;
  for (const std::u32string& word : bleu_words(line, tokenizer)) words.push_back(number(word));
  return words;
}

/// The smoothed precisions, in percent; those behind the first order without n-grams stay 0.
void fill_precisions(Bleu& bleu, const BleuOptions& options) {
  double halves = 1;
  for (std::size_t n = 0; n < Bleu::kOrder; ++n) {
    const double raised =
        options.smoothing == Smoothing::kAddK && n > 0 ? smoothing_value(options) : 0;
    const double matched = static_cast<double>(bleu.matched[n]) + raised,
                 total = static_cast<double>(bleu.total[n]) + raised;
    if (total == 0) return;
    if (matched > 0)
      bleu.precisions[n] = 100 * matched / total;
    else if (options.smoothing == Smoothing::kExp)
      bleu.precisions[n] = 100 / ((halves *= 2) * total);
    else if (options.smoothing == Smoothing::kFloor)
      bleu.precisions[n] = 100 * smoothing_value(options) / total;
  }
}

void finish(Bleu& bleu, const BleuOptions& options) {
  if (bleu.hypothesis_length < bleu.reference_length) {
    bleu.brevity = bleu.hypothesis_length == 0
                       ? 0
                       : std::exp(1 - static_cast<double>(bleu.reference_length) /
                                          static_cast<double>(bleu.hypothesis_length));
  }
  if (std::all_of(bleu.matched.begin(), bleu.matched.end(), [](auto m) { return m == 0; })) return;
  fill_precisions(bleu, options);
  double logs = 0;
  for (const double precision : bleu.precisions) {
    if (precision == 0) return;
    logs += std::log(precision);
  }
  bleu.value = bleu.brevity * std::exp(logs / static_cast<double>(Bleu::kOrder));
}

}  // namespace

Bleu corpus_bleu(std::span<const std::string> hypotheses, std::span<const std::string> references,
                 const BleuOptions& options) {
  ensure(hypotheses.size() == references.size(), "corpus_bleu: unequal counts of lines");
  Bleu bleu;
  for (std::size_t i = 0; i < hypotheses.size(); ++i) {
    Numbering number;
    const auto h = numbered(hypotheses[i], options.tokenizer, number);
    const auto r = numbered(references[i], options.tokenizer, number);
    bleu.hypothesis_length += std::ssize(h);
    bleu.reference_length += std::ssize(r);
    for (std::size_t n = 0; n < Bleu::kOrder; ++n) {
      const auto grams = sorted_ngrams(h, n + 1);
      bleu.total[n] += std::ssize(grams);
      bleu.matched[n] += matches(grams, sorted_ngrams(r, n + 1));
    }
  }
  finish(bleu, options);
  return bleu;
}

std::string signature(const BleuOptions& options) {
  std::array<char, 64> smooth{};
  const double value = smoothing_value(options);
  switch (options.smoothing) {
    case Smoothing::kFloor:
      std::snprintf(smooth.data(), smooth.size(), "floor[%.2f]", value);
      break;
    case Smoothing::kAddK:
      std::snprintf(smooth.data(), smooth.size(), "add-k[%.2f]", value);
      break;
    default:
      std::snprintf(smooth.data(), smooth.size(), "%s", name_in(kSmoothings, options.smoothing));
  }
  return std::string("nrefs:1|case:mixed|eff:no|tok:") +
         name_in(kBleuTokenizers, options.tokenizer) + "|smooth:" + smooth.data() + version_field();
}

std::string details(const Bleu& bleu) {
  const auto& p = bleu.precisions;
  const double ratio = bleu.reference_length == 0 ? 0
                                                  : static_cast<double>(bleu.hypothesis_length) /
                                                        static_cast<double>(bleu.reference_length);
  std::array<char, 200> text{};
  std::snprintf(text.data(), text.size(),
                "%.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %lld ref_len = %lld)", p[0],
                p[1], p[2], p[3], bleu.brevity, ratio,
                static_cast<long long>(bleu.hypothesis_length),
                static_cast<long long>(bleu.reference_length));
  return text.data();
}

std::string why_zero(const Bleu& bleu, const BleuOptions& options) {
  if (bleu.hypothesis_length == 0) return "all hypotheses are empty";
  if (bleu.matched[0] == 0) return "no word of a hypothesis stands in its reference";
  for (std::size_t n = 1; n < Bleu::kOrder; ++n) {
    const std::string order = std::to_string(n + 1);
    if (bleu.total[n] == 0 && options.smoothing != Smoothing::kAddK)
      return "no hypothesis has " + order + " words";
    if (bleu.matched[n] > 0) continue;
    const std::string none = "no " + order + "-gram of a hypothesis stands in its reference";
    return options.smoothing == Smoothing::kNone ? none : none + ": the value is smoothing's";
  }
  return "";
}

}  // namespace th::score
