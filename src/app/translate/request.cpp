#include "app/translate/request.hpp"

#include "app/stream/journal.hpp"
#include "app/translate/require.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/state_names.hpp"
#include "th/model/products/gemm.hpp"

#include <boost/program_options.hpp>

#include <cstdlib>
#include <iostream>
#include <sstream>

namespace th::app {

namespace {

namespace po = boost::program_options;

constexpr std::int64_t kMostSentences = 1 << 16, kMostTokens = 1 << 24, kMostThreads = 1024;

template <typename T>
po::typed_value<T>* into(std::optional<T>& place) {
  return po::value<T>()->notifier([&place](const T& value) { place = value; });
}

void require_range(const char* option, std::int64_t value, std::int64_t least, std::int64_t most) {
  require(least <= value && value <= most, std::string(option) + " " + std::to_string(value) +
                                               ": must be from " + std::to_string(least) + " to " +
                                               std::to_string(most));
}

void take_dtype(const std::string& name, ParameterChoice& choice) {
  choice.int8 = name == "int8";
  if (name == "fp32" || choice.int8) {
    choice.dtype = ElementType::kFp32;
  } else if (name == "bf16") {
    choice.dtype = ElementType::kBf16;
  } else {
    require(name == "fp16", "--dtype " + name + ": not known; allowed fp32, bf16, fp16, int8");
    choice.dtype = ElementType::kFp16;
  }
  require(!choice.int8 || model::has_int8_products(),
          "--dtype int8: this processor has no AVX-512 with VNNI (" + processor_name() + ")");
}

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    require(!word.empty(), "--ensemble " + list + ": a checkpoint without a name");
    parts.push_back(word);
  }
  require(!parts.empty(), "--ensemble is empty; name a checkpoint");
  return parts;
}

void check_serving(const Request& r) {
  require(!r.longest_source || !r.serve.empty(), "--max-source-length is for --serve alone");
  if (r.serve.empty()) return;
  require(!r.replace_unknown, "--serve and --replace-unknown contradict each other");
  require(
      r.input.empty() && r.output.empty() && !r.score && !r.alignment && r.decoding.prefix.empty(),
      "--serve answers requests of a socket: --input, --output, --score, --alignment and "
      "--prefix contradict it");
}

void check_summaries(const Request& r) {
  const std::pair<const char*, bool> others[] = {{"--score", r.score},
                                                 {"--n-best", r.decoding.best.has_value()},
                                                 {"--alignment", r.alignment},
                                                 {"--replace-unknown", r.replace_unknown},
                                                 {"--prefix", !r.decoding.prefix.empty()},
                                                 {"--serve", !r.serve.empty()}};
  for (const auto& [option, given] : others)
    require(!r.hierarchical || !given,
            std::string("--hierarchical gives one summary a line, of a document's chunks: ") +
                option + " contradicts it");
}

void check(const Request& r) {
  check_summaries(r);
  require_range("--batch", r.batch, 1, kMostSentences);
  if (r.longest_source) require_range("--max-source-length", *r.longest_source, 1, kMostTokens);
  if (r.batch_tokens != 0) require_range("--batch-tokens", r.batch_tokens, 1, kMostTokens);
  if (r.threads != 0) require_range("--threads", r.threads, 1, kMostThreads);
  const auto& kind = r.choice.parameters;
  require(!kind || *kind == "trained" || *kind == config::kAverageName,
          "--parameters is trained or ema");
  require(r.score || r.target.empty(), "--target is for --score alone");
  require(!r.anew || !r.output.empty(), "--anew is for --output alone");
  require(!is_record_name(r.output),
          "--output " + r.output +
              ": names that end with .done and .journal are those of jobs' records; name another");
  require(!r.score || (!r.input.empty() && !r.target.empty()),
          "--score needs --input and --target");
  require(!r.score || r.shortlist.empty(),
          "--score gives probabilities over the whole vocabulary: --shortlist contradicts it");
  check_decoding(r.decoding);
  if (!r.score) return check_serving(r);
  require(!r.alignment, "--score takes the targets as they are: --alignment contradicts it");
  require(!r.replace_unknown,
          "--score takes the targets as they are: --replace-unknown contradicts it");
  std::string given;
  const std::vector<std::string> options = given_options(r.decoding);
  for (const std::string& option : options) given += (given.empty() ? "" : ", ") + option;
  require(given.empty(), "--score takes the targets as they are: " + given +
                             (options.size() == 1 ? " contradicts it" : " contradict it"));
  check_serving(r);
}

/// What is given as a word and kept as a value.
struct Words {
  std::vector<std::string> ensemble;
  std::optional<std::string> dtype;
  std::string sharded = "auto";
};

void take_sharded(const std::string& word, Request& r) {
  using config::Sharded;
  require(word == "auto" || word == "on" || word == "off",
          "--sharded " + word + ": not known; allowed auto, on, off");
  r.sharded = word == "auto" ? Sharded::kAuto : word == "on" ? Sharded::kOn : Sharded::kOff;
  require(r.sharded != Sharded::kOn || can_be_sharded(r),
          "--sharded on contradicts --ensemble, --alignment, --replace-unknown, --hierarchical, "
          "--dtype int8 and --serve, which take all parameters on one rank");
}

po::options_description described(Request& request, Words& words) {
  po::options_description options(
      "th_translate CHECKPOINT [--input F] [--output G]: one source line in, one target line out, "
      "in order; below mpirun the ranks share the lines\n"
      "th_translate CHECKPOINT --score --input F --target G: LOG_PROB<TAB>TARGET_TOKENS a pair of "
      "lines, natural logarithm, end counted\n"
      "What is not given of decoding is that of the deck that the checkpoint was trained with; "
      "docs/translate.md");
  auto add = options.add_options();
  add("help,h", "this text");
  add("version", "of the program");
  add("checkpoint", po::value<std::string>(),
      "a step folder; a run's folder: its final, else its newest; its latest, best or final");
  add("input", po::value(&request.input),
      "source text, .gz is read too; without it standard input");
  add("output", po::value(&request.output),
      "a file for the translations, packed where it ends with .gz; OUTPUT.journal stands beside it "
      "until it is complete, and a job that was killed goes on by it; OUTPUT.done then says that "
      "nothing is left to do");
  add("anew", po::bool_switch(&request.anew),
      "translate anew, though OUTPUT is complete or OUTPUT.journal tells how far it is");
  add("score", po::bool_switch(&request.score), "log probabilities of the lines of --target");
  add("target", po::value(&request.target), "target text of --score, .gz is read too");
  add("alignment", po::bool_switch(&request.alignment),
      "a last column S-T S-T …: which source token (from 0) each target token looks at most");
  add("replace-unknown", po::bool_switch(&request.replace_unknown),
      "in place of <unk> the source word that it looks at most; of vocabularies of words");
  add("hierarchical", po::bool_switch(&request.hierarchical),
      "lines are documents: one above the window of the deck (data.max_source_length) is "
      "summarized "
      "chunk by chunk, and then the summaries; docs/summarization.md");
  add("parameters", into(request.choice.parameters),
      "trained or ema, their moving average; without it decode.parameters of the deck");
  add("dtype", into(words.dtype),
      "fp32, bf16, fp16, or int8 (products of weights and activations that are quantised by row); "
      "without it precision.dtype of the deck");
  add("ensemble", po::value(&words.ensemble)->composing(),
      "further checkpoints of the same vocabularies, with commas or the option again: the mean of "
      "their probabilities decides");
  add("shortlist", po::value(&request.shortlist),
      "a file of th_corpus shortlist: of each sentence only the words that its own may become are "
      "looked at, and probability is over those");
  add("sharded", po::value(&words.sharded),
      "below mpirun: the ranks share the parameters, each a part, and decode in lock step: auto "
      "(where no rank can hold all of them), on, off");
  add("batch", po::value(&request.batch), "sentences decoded together");
  add("batch-tokens", po::value(&request.batch_tokens),
      "source tokens decoded together, in place of --batch");
  add("threads", po::value(&request.threads),
      "of a rank; without it the cores that it may use, shared with the other ranks of its node");
  add("serve", po::value(&request.serve),
      "answer requests on a UNIX socket of this path, a JSON object a line");
  add("max-source-length", into(request.longest_source),
      "of --serve: a request with more source ids is answered with an error, so that none holds up "
      "the others for long; without it 4096");
  add_decoding_options(options, request.decoding);
  return options;
}

}  // namespace

bool can_be_sharded(const Request& request) {
  return request.checkpoints.size() == 1 && !request.alignment && !request.replace_unknown &&
         !request.hierarchical && !request.choice.int8 && request.serve.empty();
}

Request parse_request(int argc, char** argv) {
  Request request;
  Words words;
  const po::options_description options = described(request, words);
  po::positional_options_description positional;
  positional.add("checkpoint", 1);
  try {
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(options).positional(positional).run(),
              values);
    if (values.contains("help")) {
      std::cout << options;
      std::exit(0);
    }
    if (values.contains("version")) {
      std::cout << "th_translate " << build_line() << "\n";
      std::exit(0);
    }
    for (const auto& [name, value] : values) {
      const auto* text = boost::any_cast<std::string>(&value.value());
      require(text == nullptr || !text->empty(),
              "--" + name + " is given without a value; leave the option out, or name one");
    }
    po::notify(values);
    require(values.contains("checkpoint"),
            "no checkpoint is named; usage: th_translate CHECKPOINT [OPTIONS] < SOURCE, --help "
            "lists them");
    require(!values.contains("batch-tokens") || values["batch"].empty(),
            "--batch and --batch-tokens contradict each other");
    for (const char* size : {"batch-tokens", "threads"})
      require(!values.contains(size) || values[size].as<std::int64_t>() != 0,
              std::string("--") + size + " must be at least 1");
    request.checkpoints.push_back(values["checkpoint"].as<std::string>());
  } catch (const po::error& error) {
    throw DeckError(std::string(error.what()) +
                    "; usage: th_translate CHECKPOINT [OPTIONS] < SOURCE, --help lists them");
  }
  for (const std::string& list : words.ensemble) {
    for (const std::string& checkpoint : parts_of(list)) request.checkpoints.push_back(checkpoint);
  }
  if (words.dtype) take_dtype(*words.dtype, request.choice);
  take_sharded(words.sharded, request);
  check(request);
  return request;
}

}  // namespace th::app
