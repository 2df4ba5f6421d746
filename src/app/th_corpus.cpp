// th_corpus: makes the project's own parallel corpora.

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/data/number_corpus.hpp"

namespace {

constexpr const char* kUsage =
    "usage: th_corpus numbers --pairs N --seed S --output DIR\n"
    "Writes numbers.{train,valid,test}.{en,fr} below DIR: English to French numbers, dates and "
    "clock times, one sentence a line.\n"
    "  --pairs N     training pairs, 100 to 500000; N / 20 more each for validation and test\n"
    "  --seed S      the same seed gives the same corpus\n"
    "  --output DIR  made where it is missing\n"
    "  --help, --version\n";

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
  std::string output;
};

Options parse_options(int count, char** words) {
  Options options;
  for (int i = 2; i < count; i += 2) {
    const std::string_view name = words[i];
    if (name != "--pairs" && name != "--seed" && name != "--output")
      throw th::DeckError("th_corpus: unknown option " + std::string(name) + "\n" + kUsage);
    if (i + 1 == count)
      throw th::DeckError("th_corpus: " + std::string(name) + " lacks its value\n" + kUsage);
    if (name == "--pairs") options.pairs = parse_number<std::int64_t>(name, words[i + 1]);
    if (name == "--seed") options.seed = parse_number<std::uint64_t>(name, words[i + 1]);
    if (name == "--output") options.output = words[i + 1];
  }
  if (!options.pairs || !options.seed || options.output.empty())
    throw th::DeckError(std::string("th_corpus: --pairs, --seed and --output are all needed\n") +
                        kUsage);
  return options;
}

int run(int count, char** words) {
  const std::string_view command = count > 1 ? words[1] : "";
  if (command == "--help") return std::fputs(kUsage, stdout) < 0 ? 1 : 0;
  if (command == "--version")
    return std::printf("th_corpus %s\n", th::build_line().c_str()) < 0 ? 1 : 0;
  if (command != "numbers")
    throw th::DeckError("th_corpus: no command '" + std::string(command) + "'\n" + kUsage);
  const Options options = parse_options(count, words);
  const th::data::NumberCorpus corpus = th::data::make_number_corpus(*options.pairs, *options.seed);
  th::data::write_number_corpus(corpus, options.output);
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
