#pragma once

#include <cstdint>
#include <optional>

namespace th::score {

/// How BLEU's words are found, as sacrebleu 2.6 does it: by the rules of mteval-v13a, at white
/// space, by characters, by Chinese characters and mteval's rules for the rest.
enum class BleuTokenizer { k13a, kNone, kChar, kZh };
/// What replaces a precision of 0 (Chen and Cherry 2014): NIST's halves, a small count, counts
/// raised by k, or nothing.
enum class Smoothing { kExp, kFloor, kAddK, kNone };
/// What ROUGE counts: runs of Latin letters and digits, or every character but white space.
enum class RougeUnits { kWords, kCharacters };

struct BleuOptions {
  BleuTokenizer tokenizer = BleuTokenizer::k13a;
  Smoothing smoothing = Smoothing::kExp;
  std::optional<double> smoothing_value{};  ///< of floor and add-k; empty: 0.1 and 1
};

struct ChrfOptions {
  std::int64_t word_order = 0;  ///< 0: chrF2, 2: chrF2++
};

struct RougeOptions {
  RougeUnits units = RougeUnits::kWords;
};

}  // namespace th::score
