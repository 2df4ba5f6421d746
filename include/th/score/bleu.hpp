#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "th/score/options.hpp"

namespace th::score {

/// Corpus BLEU-4 with one reference (Papineni et al. 2002), as sacrebleu 2.6 computes it.
struct Bleu {
  static constexpr std::size_t kOrder = 4;
  double value = 0;                                          ///< percent
  std::array<double, kOrder> precisions{};                   ///< percent, smoothed
  double brevity = 1;                                        ///< the penalty
  std::int64_t hypothesis_length = 0, reference_length = 0;  ///< words
  std::array<std::int64_t, kOrder> matched{}, total{};       ///< n-grams of the hypotheses
};

/// Lines with the same index belong together. Throws InternalError for unequal counts.
[[nodiscard]] Bleu corpus_bleu(std::span<const std::string> hypotheses,
                               std::span<const std::string> references,
                               const BleuOptions& options = {});
/// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:th_app-0.1.0".
[[nodiscard]] std::string signature(const BleuOptions& options);
/// "83.3/60.0/50.0/33.3 (BP = 1.000 ratio = 1.000 hyp_len = 6 ref_len = 6)".
[[nodiscard]] std::string details(const Bleu& bleu);
/// Why the value is 0 or comes from smoothing alone: "no 4-gram of the hypotheses stands in its
/// reference"; empty if it is neither.
[[nodiscard]] std::string why_zero(const Bleu& bleu, const BleuOptions& options);
/// The words that BLEU counts.
[[nodiscard]] std::vector<std::u32string> bleu_words(std::string_view line,
                                                     BleuTokenizer tokenizer);

}  // namespace th::score
