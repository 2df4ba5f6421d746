#pragma once

#include <boost/program_options/options_description.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/tokenizer.hpp"
#include "th/model/decoding/decoding.hpp"

// Decoding as th_translate's command line asks for it, over the deck that the checkpoint was
// trained with. docs/decoding.md says what each option does. Nothing here is collective.
namespace th::app {

/// What the command line says of decoding; what it does not say is the deck's.
struct DecodingOverrides {
  std::optional<std::int64_t> beam, max_length, min_length, no_repeat_ngram, top_k;
  std::optional<std::int64_t> best;  ///< --n-best
  std::optional<double> length_penalty, temperature, top_p;
  std::optional<config::LengthNormalization> length_normalization;
  std::optional<std::vector<std::string>> forbid;
  std::optional<std::uint64_t> seed;
  bool sampling = false, no_sampling = false;
  std::string prefix;  ///< a file with one target prefix a line; empty: none
};

/// Adds --beam, --length-penalty, --length-normalization, --max-length, --min-length,
/// --no-repeat-ngram, --forbid, --prefix, --n-best, --sampling, --no-sampling, --temperature,
/// --top-k, --top-p and --seed, which write to `place` at notify(). A value is what the deck's key
/// of that meaning takes; notify() throws DeckError for another.
void add_decoding_options(boost::program_options::options_description& options,
                          DecodingOverrides& place);

/// The options that were given, "--beam" and so on: --score contradicts each of them.
[[nodiscard]] std::vector<std::string> given_options(const DecodingOverrides& overrides);

/// A search, and the options given that it does not look at, a sentence each.
struct ResolvedSearch {
  model::SearchOptions options;
  std::vector<std::string> warnings;
};

/// Contradictions that show without a checkpoint: to be called before one is opened. Throws
/// DeckError.
void check_decoding(const DecodingOverrides& overrides);

/// The decoding of the checkpoint's deck with what the command line says. With sampling,
/// options.beam and options.best are both the number of draws (--n-best); options.seed is run.seed
/// unless --seed is given. Throws DeckError: options that contradict each other or the deck,
/// --n-best above the beam, a shortest translation beyond the learned positions, a forbidden word
/// that the vocabulary does not have. options.max_length is at most what learned positions allow.
/// `shows_scores`: scores are written beside the texts, so that the length penalty is seen.
[[nodiscard]] ResolvedSearch resolve_search(const config::RunConfig& deck,
                                            const DecodingOverrides& overrides,
                                            const data::Tokenizer& target, bool shows_scores);

/// What to say where `fewer` of `sentences` have fewer hypotheses than --n-best asks for; empty for
/// none.
[[nodiscard]] std::string fewer_hypotheses(std::int64_t fewer, std::int64_t sentences,
                                           std::int64_t best);

}  // namespace th::app
