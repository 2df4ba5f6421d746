#pragma once

#include <span>
#include <string>

#include "th/score/options.hpp"

namespace th::score {

/// Means over the lines, from 0 to 1.
struct RougeScore {
  double precision = 0, recall = 0, f = 0;
};

/// ROUGE (Lin 2004) with one reference, as rouge-score 0.1.2 computes it without stemmer: lower
/// case, words of Latin letters and digits.
struct Rouge {
  RougeScore one, two;  ///< shared words, pairs of words
  RougeScore longest;   ///< ROUGE-L: the longest common subsequence
  RougeScore summary;   ///< ROUGE-Lsum: the same by sentences, which newlines divide
};

/// Lines with the same index belong together; a newline within a line divides sentences. Without
/// lines all values are 0. Throws InternalError for unequal counts.
[[nodiscard]] Rouge corpus_rouge(std::span<const std::string> hypotheses,
                                 std::span<const std::string> references,
                                 const RougeOptions& options = {});
/// "nrefs:1|case:lc|units:words|stem:no|version:th_app-0.1.0".
[[nodiscard]] std::string signature(const RougeOptions& options);

}  // namespace th::score
