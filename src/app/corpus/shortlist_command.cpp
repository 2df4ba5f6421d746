#include "app/corpus/shortlist_command.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <type_traits>

#include "app/corpus/refuse_words.hpp"
#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/data/dataset.hpp"
#include "th/data/shortlist/shortlist.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/io/checkpoint/output.hpp"

namespace th::app {

namespace {

struct ShortlistRequest {
  std::string from, output;
  std::vector<std::string> overrides;
  data::ShortlistOptions options;
  std::int64_t pairs = 1'000'000;
  bool force = false;
};

template <typename T>
void read_number(const std::string& option, const std::string& text, T least, T most, T& place) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && least <= value && value <= most) {
    place = value;
    return;
  }
  const bool whole = std::is_integral_v<T>;
  throw DeckError("th_corpus: " + option + " " + text + ": must be a " +
                  (whole ? "whole number from " : "number from ") +
                  std::to_string(static_cast<std::int64_t>(least)) + " to " +
                  std::to_string(static_cast<std::int64_t>(most)));
}

void take_option(const std::string& name, const std::string& value, ShortlistRequest& request) {
  constexpr std::int64_t kMostFirst = 1'000'000, kMostPairs = 100'000'000;
  if (name == "--output") {
    request.output = value;
  } else if (name == "--first") {
    read_number<std::int64_t>(name, value, 0, kMostFirst, request.options.first);
  } else if (name == "--best") {
    read_number<std::int64_t>(name, value, 1, data::kKeptTranslations, request.options.best);
  } else if (name == "--threshold") {
    read_number<double>(name, value, 0, 1, request.options.threshold);
  } else if (name == "--iterations") {
    read_number<std::int64_t>(name, value, 1, 100, request.options.iterations);
  } else if (name == "--pairs") {
    read_number<std::int64_t>(name, value, 1, kMostPairs, request.pairs);
  } else {
    refuse_words("unknown option " + name + " of shortlist");
  }
}

ShortlistRequest parse_shortlist(const std::vector<std::string>& words) {
  ShortlistRequest request;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos && word.substr(0, equals).find('.') != std::string::npos &&
        !std::filesystem::exists(word)) {
      request.overrides.push_back(word);
    } else if (word == "--force") {
      request.force = true;
    } else if (word.starts_with("--")) {
      const bool joined = equals != std::string::npos;
      if (!joined && i + 1 == words.size()) refuse_words(word + " lacks its value");
      take_option(word.substr(0, equals), joined ? word.substr(equals + 1) : words[++i], request);
    } else if (!request.from.empty()) {
      refuse_words("more than one checkpoint or deck: " + request.from + " and " + word);
    } else {
      request.from = word;
    }
  }
  if (request.from.empty() || request.output.empty())
    refuse_words("a checkpoint or deck and --output are both needed");
  return request;
}

/// The deck whose training text is read, and the tokenizers that it is cut by, where they are
/// given.
struct ShortlistSource {
  config::LoadedDeck deck;
  data::TokenizerPair given;
};

ShortlistSource open_source(const ShortlistRequest& request) {
  const std::string named = io::named_checkpoint(request.from);
  if (!std::filesystem::is_directory(named)) {
    ShortlistSource source{config::load_deck(request.from, request.overrides), {}};
    source.given = io::given_tokenizers(source.deck.config);
    return source;
  }
  const io::CheckpointReader reader(named);
  return {config::load_deck_text(reader.info().deck, request.from + " (its deck)", "/",
                                 request.overrides),
          io::tokenizers_of(reader)};
}

data::Dataset read_training(const ShortlistSource& source, const std::string& name) {
  config::DataSection data = source.deck.config.data;
  if (data.synthetic != config::Synthetic::kNone)
    throw DeckError(name + ": data.synthetic: random ids have no text to learn from");
  for (auto* files : {&data.valid_source, &data.valid_target, &data.test_source, &data.test_target})
    files->clear();
  data::NodeShare share;
  share.output_dir = source.deck.config.run.output_dir;
  data::Dataset dataset =
      data::open_dataset(data, config::joint_vocabulary(source.deck.config), share, source.given);
  for (const std::string& warning : dataset.warnings)
    std::fprintf(stderr, "th_corpus: warning: %s\n", warning.c_str());
  return dataset;
}

/// At most `most` pairs, evenly spaced.
data::IdPairs chosen_pairs(const data::ParallelCorpus& corpus, std::int64_t most) {
  data::IdPairs pairs;
  const std::int64_t count = std::min(most, corpus.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t pair = i * corpus.size() / count;
    corpus.require_ids(corpus.source(pair), corpus.target(pair));
    pairs.add(corpus.source(pair), corpus.target(pair));
  }
  return pairs;
}

/// What a shortlist leaves of some sentences: what the user chooses its sizes by.
std::string coverage_text(const data::Shortlist& shortlist, const data::IdPairs& pairs,
                          std::int64_t vocabulary) {
  constexpr std::int64_t kLooked = 1000;
  const std::int64_t count = std::min(kLooked, pairs.size());
  std::int64_t candidates = 0, ids = 0, found = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t pair = i * pairs.size() / count;
    const std::vector<std::int32_t> of_pair = shortlist.candidates(pairs.source(pair), {});
    candidates += std::ssize(of_pair);
    for (const std::int32_t id : pairs.target(pair)) {
      ++ids;
      found += std::binary_search(of_pair.begin(), of_pair.end(), id) ? 1 : 0;
    }
  }
  std::array<char, 200> text{};
  std::snprintf(text.data(), text.size(),
                "a sentence has %.0f candidates of %lld ids in the mean, and %.2f %% of its target "
                "ids are among them",
                static_cast<double>(candidates) / static_cast<double>(count),
                static_cast<long long>(vocabulary),
                100 * static_cast<double>(found) / static_cast<double>(ids));
  return text.data();
}

void write_shortlist(const std::string& path, const std::string& text) {
  try {
    io::OutputFile file(path, io::Existing::kReplace);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  } catch (const CheckpointError& error) {
    throw DataError(error.what());
  }
}

}  // namespace

int make_shortlist(const std::vector<std::string>& words) {
  const ShortlistRequest request = parse_shortlist(words);
  if (!request.force) data::require_no_other_than_shortlist(request.output);
  const ShortlistSource source = open_source(request);
  const data::Dataset dataset = read_training(source, request.from);
  const data::TokenizerPair tokenizers{dataset.source_tokenizer, dataset.target_tokenizer};
  const data::IdPairs pairs = chosen_pairs(*dataset.train, request.pairs);
  if (pairs.size() == 0)
    throw DataError(request.from +
                    ": no pair of its training text has words that the vocabularies know");
  const data::Shortlist shortlist(data::learn_shortlist(pairs, tokenizers, request.options),
                                  tokenizers);
  write_shortlist(request.output, shortlist.text());
  std::printf("%s: learned from %lld pairs; %s\n", request.output.c_str(),
              static_cast<long long>(pairs.size()),
              coverage_text(shortlist, pairs, tokenizers.target->size()).c_str());
  return std::fflush(stdout) == 0 ? 0 : static_cast<int>(ExitCode::kDiffers);
}

}  // namespace th::app
