#include "th/model/decoding/search_options.hpp"

#include "th/base/error.hpp"

#include <algorithm>

namespace th::model {

std::vector<std::vector<std::int32_t>> forbidden_sequences(const std::vector<std::string>& words,
                                                           const data::Tokenizer& target,
                                                           const std::string& asked_by) {
  const std::vector<std::string>& tokens = target.tokens();
  std::vector<std::vector<std::int32_t>> sequences;
  for (const std::string& word : words) {
    if (word == tokens[data::kUnknown]) {
      sequences.push_back({data::kUnknown});
      continue;
    }
    std::vector<std::int32_t> ids = target.encode(word);
    if (ids.empty() || std::find(ids.begin(), ids.end(), data::kUnknown) != ids.end())
      throw DeckError(asked_by + ": '" + word +
                      "' is outside the target vocabulary; allowed words that it has");
    if (ids.size() > 1 && tokens[static_cast<std::size_t>(ids[0])] == "\u2581")
      ids.erase(ids.begin());
    sequences.push_back(std::move(ids));
  }
  return sequences;
}

SearchOptions search_options(const config::DecodeSection& decode) {
  SearchOptions options{decode.beam, decode.length_penalty, decode.max_length, 1};
  options.length_normalization = decode.length_normalization;
  options.min_length = decode.min_length;
  options.no_repeat_ngram = decode.no_repeat_ngram;
  options.sampling = decode.sampling;
  options.temperature = decode.temperature;
  options.top_k = decode.top_k;
  options.top_p = decode.top_p;
  return options;
}

SearchOptions search_options(const config::DecodeSection& decode, std::uint64_t seed,
                             const data::Tokenizer& target) {
  SearchOptions options = search_options(decode);
  options.forbidden = forbidden_sequences(decode.forbidden_words, target, "decode.forbidden_words");
  options.seed = seed;
  return options;
}

}  // namespace th::model
