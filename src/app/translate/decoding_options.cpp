#include "app/translate/decoding_options.hpp"

#include "app/translate/require.hpp"
#include "th/base/error.hpp"
#include "th/config/schema.hpp"
#include "th/data/text.hpp"
#include "th/model/decoding/search_options.hpp"
#include "th/model/parameters/parameter_units.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

namespace th::app {

namespace {

namespace po = boost::program_options;
using config::RunConfig;

/// `text` as the key takes it, in a configuration that is otherwise the default.
RunConfig read_as(const std::string& option, const char* key_name, const std::string& text) {
  const config::Key* key = config::find_key(key_name);
  ensure(key != nullptr, "an option of decoding without a key");
  RunConfig config;
  require(key->set(config, text), option + ": " + config::refusal(*key, text));
  return config;
}

/// An option whose value is that of a deck's key.
struct KeyedOption {
  const char* name;
  const char* key;
  const char* help;
  void (*take)(DecodingOverrides& to, const RunConfig& from);
  bool (*given)(const DecodingOverrides& overrides);
};

// KEYED(member, section.member): how an option's value is taken over, and whether it was.
#define KEYED(member, value)                                                    \
  [](DecodingOverrides& to, const RunConfig& from) { to.member = from.value; }, \
      [](const DecodingOverrides& overrides) { return overrides.member.has_value(); }

const std::array kKeyed{
    KeyedOption{"beam", "decode.beam", "hypotheses of a sentence; 1: greedy",
                KEYED(beam, decode.beam)},
    KeyedOption{"length-penalty", "decode.length_penalty",
                "alpha: hypotheses are compared by log p over a penalty of their length",
                KEYED(length_penalty, decode.length_penalty)},
    KeyedOption{"length-normalization", "decode.length_normalization",
                "the penalty: gnmt, ((5 + length) / 6)^alpha, or power, length^alpha",
                KEYED(length_normalization, decode.length_normalization)},
    KeyedOption{"max-length", "decode.max_length", "longest translation, ids",
                KEYED(max_length, decode.max_length)},
    KeyedOption{"min-length", "decode.min_length", "shortest translation, ids",
                KEYED(min_length, decode.min_length)},
    KeyedOption{"no-repeat-ngram", "decode.no_repeat_ngram",
                "no sequence of so many ids comes twice in a translation; 0: any may",
                KEYED(no_repeat_ngram, decode.no_repeat_ngram)},
    KeyedOption{"forbid", "decode.forbidden_words", "words with commas that no translation has",
                KEYED(forbid, decode.forbidden_words)},
    KeyedOption{"temperature", "decode.temperature", "of --sampling: logits are divided by it",
                KEYED(temperature, decode.temperature)},
    KeyedOption{"top-k", "decode.top_k",
                "of --sampling: draws are of the so many likeliest words; 0: of all",
                KEYED(top_k, decode.top_k)},
    KeyedOption{"top-p", "decode.top_p",
                "of --sampling: draws are of the fewest likeliest words that hold so much "
                "probability together",
                KEYED(top_p, decode.top_p)},
    KeyedOption{"seed", "run.seed", "of --sampling; without it run.seed of the deck",
                KEYED(seed, run.seed)},
};
#undef KEYED

/// The options given that a search does not look at. `d`: what they and the deck make together;
/// `shows_scores`: the penalty is seen though it chooses nothing.
std::vector<std::string> idle_options(const DecodingOverrides& o, const config::DecodeSection& d,
                                      bool shows_scores) {
  std::vector<std::string> warnings;
  const auto idle = [&](bool given, const char* option, const char* why) {
    if (given) warnings.push_back(std::string(option) + " has no effect: " + why);
  };
  const bool compares = !d.sampling && (d.beam > 1 || shows_scores);
  if (!compares) {
    const char* why =
        d.sampling ? "draws are not compared" : "with a beam of 1 nothing is compared";
    idle(o.length_penalty.has_value(), "--length-penalty", why);
    idle(o.length_normalization.has_value(), "--length-normalization", why);
  } else if (d.length_penalty == 0) {
    idle(o.length_normalization.has_value(), "--length-normalization", "the length penalty is 0");
  }
  if (!d.sampling) {
    const char* why = "nothing is drawn without --sampling";
    idle(o.temperature.has_value(), "--temperature", why);
    idle(o.top_k.has_value(), "--top-k", why);
    idle(o.top_p.has_value(), "--top-p", why);
    idle(o.seed.has_value(), "--seed", why);
  }
  return warnings;
}

/// The deck's section with what the command line says over it.
config::DecodeSection merged(const config::DecodeSection& deck, const DecodingOverrides& o) {
  config::DecodeSection d = deck;
  d.sampling = (deck.sampling || o.sampling) && !o.no_sampling;
  // A beam of the deck was asked for searches.
  d.beam = o.beam.value_or(d.sampling ? 1 : deck.beam);
  d.length_penalty = o.length_penalty.value_or(deck.length_penalty);
  d.length_normalization = o.length_normalization.value_or(deck.length_normalization);
  d.max_length = o.max_length.value_or(deck.max_length);
  d.min_length = o.min_length.value_or(deck.min_length);
  d.no_repeat_ngram = o.no_repeat_ngram.value_or(deck.no_repeat_ngram);
  d.temperature = o.temperature.value_or(deck.temperature);
  d.top_k = o.top_k.value_or(deck.top_k);
  d.top_p = o.top_p.value_or(deck.top_p);
  if (o.forbid) d.forbidden_words.clear();  // they are taken apart under the option's name
  return d;
}

/// "--min-length 7", or "decode.min_length = 7 of the checkpoint's deck".
std::string said(bool given, const char* option, const char* key, std::int64_t value) {
  const std::string number = std::to_string(value);
  return given ? std::string(option) + " " + number
               : std::string(key) + " = " + number + " of the checkpoint's deck";
}

void check_merged(const config::DecodeSection& d, const RunConfig& deck,
                  const DecodingOverrides& o) {
  require(!d.sampling || d.beam == 1,
          "--beam " + std::to_string(d.beam) +
              " searches, and decode.sampling = true of the checkpoint's deck draws; give "
              "--no-sampling with it, or --n-best for so many draws");
  const std::string shortest =
      said(o.min_length.has_value(), "--min-length", "decode.min_length", d.min_length);
  require(d.min_length <= d.max_length,
          shortest + " is above the longest translation, " +
              said(o.max_length.has_value(), "--max-length", "decode.max_length", d.max_length));
  const std::int64_t learned = model::learned_positions(deck);
  require(learned == 0 || d.min_length < learned,
          shortest + " ids needs " + std::to_string(d.min_length + 1) +
              " positions with its begin symbol, and the model learned " + std::to_string(learned) +
              " (data.max_length)");
}

}  // namespace

void add_decoding_options(po::options_description& options, DecodingOverrides& place) {
  auto add = options.add_options();
  for (const KeyedOption& option : kKeyed) {
    auto* value = po::value<std::string>()->notifier([&place, option](const std::string& text) {
      option.take(place, read_as(std::string("--") + option.name, option.key, text));
    });
    add(option.name, value, option.help);
  }
  add("n-best", po::value<std::string>()->notifier([&place](const std::string& text) {
    place.best = read_as("--n-best", "decode.beam", text).decode.beam;
  }),
      "N lines LINE<TAB>SCORE<TAB>TEXT a source line, counted from 0, best first: at most --beam "
      "hypotheses, or with --sampling so many draws; fewer where there are not so many");
  add("sampling", po::bool_switch(&place.sampling),
      "translations are drawn from the model's distribution in place of a search");
  add("no-sampling", po::bool_switch(&place.no_sampling), "a search, though the deck draws");
  add("prefix", po::value(&place.prefix),
      "a file with a line for each source line: the words that its translation begins with");
}

std::vector<std::string> given_options(const DecodingOverrides& overrides) {
  std::vector<std::string> names;
  for (const KeyedOption& option : kKeyed)
    if (option.given(overrides)) names.push_back(std::string("--") + option.name);
  if (overrides.best) names.emplace_back("--n-best");
  if (overrides.sampling) names.emplace_back("--sampling");
  if (overrides.no_sampling) names.emplace_back("--no-sampling");
  if (!overrides.prefix.empty()) names.emplace_back("--prefix");
  return names;
}

void check_decoding(const DecodingOverrides& o) {
  require(!o.sampling || !o.no_sampling, "--sampling and --no-sampling contradict each other");
  require(!o.sampling || o.beam.value_or(1) == 1,
          "--beam " + std::to_string(o.beam.value_or(1)) +
              " searches for the likeliest, and --sampling draws: they contradict each other; "
              "--n-best N gives N draws");
}

ResolvedSearch resolve_search(const RunConfig& deck, const DecodingOverrides& overrides,
                              const data::Tokenizer& target, bool shows_scores) {
  check_decoding(overrides);
  config::DecodeSection decode = merged(deck.decode, overrides);
  check_merged(decode, deck, overrides);
  // The model ends where its positions do; a prefix may not be longer.
  if (const std::int64_t learned = model::learned_positions(deck); learned > 0)
    decode.max_length = std::min(decode.max_length, learned - 1);
  const std::int64_t best = overrides.best.value_or(1);
  ResolvedSearch search{
      model::search_options(decode, overrides.seed.value_or(deck.run.seed), target),
      idle_options(overrides, decode, shows_scores)};
  if (overrides.forbid)
    search.options.forbidden = model::forbidden_sequences(*overrides.forbid, target, "--forbid");
  if (decode.sampling) {
    search.options.beam = best;
  } else {
    require(best <= decode.beam, "--n-best " + std::to_string(best) +
                                     " asks for more than the beam's " +
                                     std::to_string(decode.beam) + " hypotheses; raise --beam");
  }
  search.options.best = best;
  return search;
}

std::string fewer_hypotheses(std::int64_t fewer, std::int64_t sentences, std::int64_t best) {
  if (fewer == 0) return "";
  return std::to_string(fewer) + " of " + std::to_string(sentences) +
         " source lines have fewer hypotheses than --n-best " + std::to_string(best) +
         " asks for; there are no others within --max-length";
}

}  // namespace th::app
