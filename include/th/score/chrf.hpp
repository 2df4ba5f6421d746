#pragma once

#include <span>
#include <string>

#include "th/score/options.hpp"

namespace th::score {

/// Corpus chrF2 with one reference, in percent (Popović 2015; with words, chrF2++, Popović 2017),
/// as sacrebleu 2.6 computes it: n-grams of characters without white space up to order 6, F with
/// beta 2, without orders that one side lacks. Throws InternalError for unequal counts.
[[nodiscard]] double corpus_chrf(std::span<const std::string> hypotheses,
                                 std::span<const std::string> references,
                                 const ChrfOptions& options = {});
/// "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:th_app-0.1.0".
[[nodiscard]] std::string signature(const ChrfOptions& options);
/// "chrF2", "chrF2++".
[[nodiscard]] std::string name_of(const ChrfOptions& options);

}  // namespace th::score
