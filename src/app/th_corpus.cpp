// th_corpus: makes the project's own parallel corpora, the index of a deck's corpus, and the
// shortlist of a model.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/corpus/refuse_words.hpp"
#include "app/corpus/shortlist_command.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/config/file_keys.hpp"
#include "th/data/dataset.hpp"
#include "th/data/made/number_corpus.hpp"
#include "th/data/made/record_corpus.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"

namespace {

using th::app::refuse_words;

constexpr const char* kUsage =
    "usage: th_corpus numbers --pairs N --seed S --output DIR [--force]\n"
    "       th_corpus records --pairs N --seed S --output DIR [--windows W] [--force]\n"
    "       th_corpus encode DECK [section.key=value]... [--verify] [--force]\n"
    "       th_corpus shortlist CHECKPOINT|DECK --output F [--first N] [--best N] [--threshold P] "
    "[--iterations N] [--pairs N] [section.key=value]... [--force]\n"
    "numbers writes numbers.{train,valid,test}.{en,fr} below DIR: English to French numbers, dates "
    "and clock times, one sentence a line.\n"
    "records writes records.{train,valid,test}.{source,target}: documents about shipments and "
    "their "
    "headlines.\n"
    "  --pairs N     training pairs, 100 to 500000; N / 20 more each for validation and test\n"
    "  --seed S      the same seed gives the same corpus\n"
    "  --output DIR  made where it is missing\n"
    "  --windows W   windows of 63 words in a document of validation and test, 1 to 8; 1 unless "
    "given\n"
    "encode writes the index of the deck's corpus below data.index_dir (run.output_dir with .index "
    "behind it, unless given), from which runs start at once.\n"
    "  --verify      reads the files and the index that is there, and says what differs: exit 1\n"
    "shortlist learns which target words translate which source words from the training text of a "
    "checkpoint's deck, or of a deck, for th_translate --shortlist F (docs/shortlist.md).\n"
    "  --output F      the file, in place of a shortlist that is there\n"
    "  --first N       the N most frequent target tokens are candidates always; 100 unless given\n"
    "  --best N        so many translations of each source token, 1 to 1024; 100 unless given\n"
    "  --threshold P   no translation of less probability; 0 unless given\n"
    "  --iterations N  of IBM model 1; 5 unless given\n"
    "  --pairs N       at most so many pairs, evenly spaced over the text; 1000000 unless given\n"
    "  --force       replaces files of these names that hold something else, and with encode and "
    "shortlist what lies in the index's or the list's place and is none\n"
    "  --help (-h), --version\n";

template <class T>
T parse_number(std::string_view option, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw th::DeckError("th_corpus: " + std::string(option) + " " + std::string(text) +
                        ": not a whole number in range");
  return value;
}

struct Options {
  std::optional<std::int64_t> pairs;
  std::optional<std::uint64_t> seed;
  std::optional<std::int64_t> windows;
  std::string output;
  bool force = false;
};

Options parse_options(int count, char** words) {
  const bool records = std::string_view(words[1]) == "records";
  Options options;
  for (int i = 2; i < count;) {
    const std::string_view name = words[i++];
    if (name == "--force") {
      options.force = true;
      continue;
    }
    const bool windows = records && name == "--windows";
    if (!windows && name != "--pairs" && name != "--seed" && name != "--output")
      refuse_words("unknown option " + std::string(name) + " of " + words[1]);
    if (i == count) refuse_words(std::string(name) + " lacks its value");
    const char* const value = words[i++];
    if (name == "--pairs") options.pairs = parse_number<std::int64_t>(name, value);
    if (name == "--seed") options.seed = parse_number<std::uint64_t>(name, value);
    if (windows) options.windows = parse_number<std::int64_t>(name, value);
    if (name == "--output") options.output = value;
  }
  if (!options.pairs || !options.seed || options.output.empty())
    refuse_words("--pairs, --seed and --output are all needed");
  return options;
}

/// Writes the index of a deck's corpus, or compares it with the files.
int encode(int count, char** words) {
  bool verify = false, force = false;
  std::string deck_path;
  std::vector<std::string> overrides;
  for (int i = 2; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--verify")
      verify = true;
    else if (word == "--force")
      force = true;
    else if (word.find('=') != std::string::npos)
      overrides.emplace_back(word);
    else if (word.starts_with("-"))
      refuse_words("unknown option " + std::string(word) + " of encode");
    else if (!deck_path.empty())
      refuse_words("more than one deck: " + deck_path + " and " + std::string(word));
    else
      deck_path = word;
  }
  if (deck_path.empty()) refuse_words("no deck given");
  const th::config::LoadedDeck deck = th::config::load_deck(deck_path, overrides);
  for (const std::string& warning : deck.warnings)
    std::fprintf(stderr, "th_corpus: warning: %s\n", warning.c_str());
  const th::config::DataSection& data = deck.config.data;
  if (data.synthetic != th::config::Synthetic::kNone)
    throw th::DeckError(deck_path + ": data.synthetic: random ids have no text to encode");
  const bool joint = th::config::joint_vocabulary(deck.config);
  const th::data::TokenizerPair given = th::io::given_tokenizers(deck.config);
  const std::string& output = deck.config.run.output_dir;
  if (!verify && !force) th::data::require_no_other_file(th::data::index_path(data, output));
  const std::vector<std::string> lines = th::config::naming_keys(deck, [&] {
    return verify ? th::data::verify_index(data, joint, output, given)
                  : th::data::write_index(data, joint, output, given);
  });
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
  const std::string path = th::data::index_path(data, output);
  if (verify && lines.empty()) std::printf("%s: is of these files\n", path.c_str());
  if (!verify) std::printf("%s: written\n", path.c_str());
  if (std::fflush(stdout) != 0) return static_cast<int>(th::ExitCode::kDiffers);
  return static_cast<int>(verify && !lines.empty() ? th::ExitCode::kDiffers
                                                   : th::ExitCode::kCompleted);
}

int run(int count, char** words) {
  const std::string_view command = count > 1 ? words[1] : "";
  const bool help = std::any_of(words + 1, words + count, [](std::string_view word) {
    return word == "--help" || word == "-h";
  });
  if (help) return std::fputs(kUsage, stdout) < 0 ? 1 : 0;
  if (command == "--version")
    return std::printf("th_corpus %s\n", th::build_line().c_str()) < 0 ? 1 : 0;
  if (command == "encode") return encode(count, words);
  if (command == "shortlist")
    return th::app::make_shortlist(std::vector<std::string>(words + 2, words + count));
  if (command != "numbers" && command != "records")
    refuse_words(
        (command.empty() ? "no command is given" : "no command '" + std::string(command) + "'") +
        "; numbers, records, encode or shortlist");
  const Options options = parse_options(count, words);
  th::data::MadeCorpus corpus;
  if (command == "numbers") {
    corpus = th::data::make_number_corpus(*options.pairs, *options.seed);
    th::data::write_number_corpus(corpus, options.output, options.force);
  } else {
    corpus =
        th::data::make_record_corpus(*options.pairs, *options.seed, options.windows.value_or(1));
    th::data::write_record_corpus(corpus, options.output, options.force);
  }
  std::printf("%s: %zu train, %zu valid, %zu test pairs\n", options.output.c_str(),
              corpus.train.size(), corpus.valid.size(), corpus.test.size());
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const th::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "th_corpus: %s\n", error.what());
    return static_cast<int>(th::ExitCode::kDiffers);
  }
}
