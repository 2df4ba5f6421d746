#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"

// The words that translations have to begin with.
namespace th::app {

/// Whether one of the ids is that of a word outside the vocabulary.
[[nodiscard]] inline bool has_unknown(const std::vector<std::int32_t>& ids) {
  return std::find(ids.begin(), ids.end(), data::kUnknown) != ids.end();
}

/// The ids of the longest prefix, and what makes it so: "the longest translation, 20 ids; raise …".
struct LongestPrefix {
  std::int64_t ids = 0;
  std::string text;
};

/// Ids of a prefix, for SentenceOptions::prefix; an empty line gives none. `place`: "FILE:LINE: ",
/// or nothing. Throws DeckError for words outside the vocabulary, which it names, and for more ids
/// than the longest.
[[nodiscard]] std::vector<std::int32_t> prefix_ids(const data::Tokenizer& target,
                                                   std::string_view line, const std::string& place,
                                                   const LongestPrefix& longest);
/// "FILE:LINE: ". `number`: of the line, from 0.
[[nodiscard]] std::string line_place(const std::string& file, std::uint64_t number);

/// Reads all of --prefix, so that a job does not end in its middle: throws what prefix_ids()
/// throws, and DataError for what is no text. A pipe is not read.
void check_prefixes(const std::string& file, const data::Tokenizer& target,
                    const LongestPrefix& longest);

}  // namespace th::app
