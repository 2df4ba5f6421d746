#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/config/state_names.hpp"
#include "th/data/batcher.hpp"
#include "th/data/text.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/train/run_state.hpp"
#include "th/zero/resident_source.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <numeric>
#include <optional>

// th_translate CHECKPOINT [--beam N] [--input F]: one source line in, one target line out, in
// order. --score: log p of given targets.
namespace {

namespace po = boost::program_options;
using Ids = std::vector<std::int32_t>;
using th::config::kAverageName;

struct Request {
  std::string checkpoint, input, target;
  std::optional<std::string> parameters;
  std::optional<std::int64_t> beam, max_length, best;
  std::optional<double> length_penalty;
  std::int64_t batch = 32;
  bool score = false;
};

template <typename T>
po::typed_value<T>* into(std::optional<T>& place) {
  return po::value<T>()->notifier([&place](const T& value) { place = value; });
}

void require(bool fine, const std::string& what) {
  if (!fine) throw th::DeckError(what);
}

void check(const Request& r) {
  require(r.batch >= 1, "--batch must be at least 1");
  require(!r.parameters || *r.parameters == "trained" || *r.parameters == kAverageName,
          "--parameters is trained or ema");
  require(!r.beam || (*r.beam >= 1 && *r.beam <= 1024), "--beam must be from 1 to 1024");
  require(!r.max_length || (*r.max_length >= 1 && *r.max_length <= 1 << 20),
          "--max-length must be from 1 to 1048576");
  require(!r.length_penalty || (std::isfinite(*r.length_penalty) && *r.length_penalty >= 0),
          "--length-penalty must be a number from 0");
  require(!r.best || *r.best >= 1, "--n-best must be at least 1");
  require(r.score || r.target.empty(), "--target is for --score alone");
  require(!r.score || (!r.input.empty() && !r.target.empty()),
          "--score needs --input and --target");
  require(!r.score || !(r.beam || r.max_length || r.length_penalty || r.best),
          "--score takes the targets as they are: --beam, --length-penalty, --max-length and "
          "--n-best contradict it");
}

Request parse(int argc, char** argv) {
  Request request;
  po::options_description options(
      "th_translate CHECKPOINT [--beam N] [--input F]: one source line in, one target line out, in "
      "order\n"
      "th_translate CHECKPOINT --score --input F --target G: LOG_PROB<TAB>TARGET_TOKENS a pair of "
      "lines, natural logarithm, end counted\n"
      "Without --beam, --length-penalty, --max-length: the values of the deck that the checkpoint "
      "was trained with");
  auto add = options.add_options();
  add("help", "this text");
  add("checkpoint", po::value(&request.checkpoint)->required(),
      "a step folder; a run's folder: its final, else its newest; its latest, best or final");
  add("input", po::value(&request.input),
      "source text, .gz is read too; without it standard input");
  add("beam", into(request.beam), "hypotheses of a sentence; 1: greedy");
  add("length-penalty", into(request.length_penalty), "alpha of ((5 + length) / 6)^alpha");
  add("max-length", into(request.max_length), "longest translation, ids");
  add("n-best", into(request.best),
      "N lines LINE<TAB>SCORE<TAB>TEXT a source line, counted from 0, best first; at most --beam");
  add("score", po::bool_switch(&request.score), "log probabilities of the lines of --target");
  add("target", po::value(&request.target), "target text of --score, .gz is read too");
  add("parameters", into(request.parameters),
      "trained or ema, their moving average; without it decode.parameters of the deck");
  add("batch", po::value(&request.batch), "sentences decoded together");
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
    po::notify(values);
  } catch (const po::error& error) {
    throw th::DeckError(std::string(error.what()) +
                        "; usage: th_translate CHECKPOINT [OPTIONS] < SOURCE, --help lists them");
  }
  check(request);
  return request;
}

std::vector<std::string> read_lines(const std::string& path) {
  if (!path.empty()) return th::data::read_text(path).lines;
  return th::data::text_of(std::string(std::istreambuf_iterator<char>(std::cin), {}),
                           "standard input")
      .lines;
}

/// Shortest text that reads back to the same bits.
std::string number_text(double value) {
  char buffer[64];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

/// A trained model with its vocabularies and all its parameters.
class Translator {
 public:
  explicit Translator(const std::string& checkpoint)
      : reader_(th::io::named_checkpoint(checkpoint)),
        config_(load(reader_.info(), checkpoint)),
        tokenizers_(th::io::tokenizers_of(reader_)) {
    if (!std::filesystem::exists(checkpoint + "/model.h5"))
      std::cerr << "th_translate: parameters of " << reader_.folder() << "\n";
  }
  /// Makes the model, before it translates. `longest`: ids of the longest source or target, begin
  /// and end not counted; `parameters`: which of the checkpoint's, empty: those of
  /// decode.parameters.
  void prepare(std::int64_t longest, const std::optional<std::string>& parameters) {
    const std::int64_t rows =
        learned() > 0 ? learned()
                      : std::max({config_.data.max_length, config_.decode.max_length, longest}) + 2;
    model_.emplace(
        th::model::TransformerSpec{config_.model, tokenizers_.source->size(),
                                   tokenizers_.target->size(), rows, source_per_target()},
        th::model::resolve_gemm(config_.run.gemm), th::model::Arithmetic::kCompute,
        th::model::host_compute(config_.run));
    const th::zero::FlatLayout layout(model_->units(), 1);
    at::Tensor flat =
        th::model::zeros({layout.padded_total()}, at::TensorOptions().dtype(at::kFloat));
    reader_.read_shard(layout, 0, group_of(parameters),
                       {flat.data_ptr<float>(), static_cast<std::size_t>(flat.numel())});
    parameters_.emplace(layout, flat.to(th::model::scalar_type(config_.precision.dtype)));
  }
  [[nodiscard]] const th::config::RunConfig& config() const { return config_; }
  /// Positions that the model learned; 0: it goes on beyond those of its training.
  [[nodiscard]] std::int64_t learned() const { return th::model::learned_positions(config_); }
  /// Why the model can't write `longest` ids; empty where it can.
  [[nodiscard]] std::string too_long(std::int64_t longest) const {
    if (learned() == 0 || longest < learned()) return "";
    return std::to_string(longest) + " ids needs " + std::to_string(longest + 1) +
           " positions with its begin symbol, and the model learned " + std::to_string(learned()) +
           " (data.max_length)";
  }
  /// Ids of lines, each with its end; of learned positions cut to those, with a warning.
  [[nodiscard]] std::vector<Ids> source_ids(const std::vector<std::string>& lines) const {
    std::vector<Ids> ids;
    std::int64_t cut = 0;
    for (const std::string& line : lines) {
      ids.push_back(th::data::encode_source(*tokenizers_.source, line, th::data::kUncut));
      if (learned() == 0 || std::ssize(ids.back()) <= learned()) continue;
      ++cut;
      ids.back() = th::data::encode_source(*tokenizers_.source, line, learned());
    }
    if (cut > 0) {
      std::cerr << "th_translate: warning: " << cut << " of " << lines.size()
                << " source lines were cut to the " << learned()
                << " positions that the model learned (data.max_length), their end counted\n";
    }
    return ids;
  }
  /// Never cut.
  [[nodiscard]] Ids target_ids(const std::string& line) const {
    return th::data::encode_target(*tokenizers_.target, line, th::data::kUncut);
  }
  [[nodiscard]] std::string text(const Ids& ids) const { return tokenizers_.target->decode(ids); }
  [[nodiscard]] auto translate(const th::data::Batch& batch,
                               const th::model::SearchOptions& options) {
    return th::model::translate(*model_, *parameters_, batch, options);
  }
  [[nodiscard]] std::vector<double> score(const th::data::Batch& batch) {
    return th::model::score_targets(*model_, *parameters_, batch);
  }

 private:
  /// The group of the checkpoint that holds the parameters to translate with.
  [[nodiscard]] std::string group_of(const std::optional<std::string>& parameters) const {
    const bool average = parameters
                             ? *parameters == kAverageName
                             : config_.decode.parameters == th::config::DecodeParameters::kEma;
    if (!average) return "parameters";
    if (!reader_.info().has_state(kAverageName))
      throw th::CheckpointError(reader_.folder() +
                                " holds no moving average of the parameters; --parameters "
                                "trained takes the parameters themselves");
    return kAverageName;
  }
  /// 1 where a model that was imported brings none, with a warning where it has a part.
  [[nodiscard]] double source_per_target() const {
    const double ratio =
        th::train::run_state_from_json(reader_.info().state_json).source_per_target;
    if (ratio > 0) return ratio;
    if (config_.model.cross_attention == th::config::Attention::kLocal) {
      std::cerr << "th_translate: warning: " << reader_.folder()
                << " does not say how many source ids its training had a target id; local cross "
                   "attention goes by 1\n";
    }
    return 1.0;
  }
  static th::config::RunConfig load(const th::io::CheckpointInfo& info,
                                    const std::string& checkpoint) {
    return th::config::load_deck_text(info.deck, checkpoint + " (its deck)", "/", {}).config;
  }

  th::io::CheckpointReader reader_;
  th::config::RunConfig config_;
  th::data::TokenizerPair tokenizers_;
  std::optional<th::model::Transformer> model_;
  std::optional<th::zero::ResidentSource> parameters_;
};

/// Ids of the longest sentence.
std::int64_t longest_of(const std::vector<Ids>& sentences) {
  std::int64_t longest = 0;
  for (const Ids& ids : sentences) longest = std::max(longest, std::ssize(ids));
  return longest;
}

/// `targets` empty: decoder inputs and labels are none.
th::data::Batch make_batch(const std::vector<Ids>& sources, const std::vector<Ids>& targets,
                           std::span<const std::size_t> lines) {
  th::data::Batch batch;
  for (const std::size_t line : lines)
    batch.append(sources[line], targets.empty() ? Ids{} : targets[line]);
  return batch;
}

/// Calls work(batch, lines) for batches of lines of like length: sorted within windows of many
/// batches, so that output begins before the end. Lines without ids are left out.
template <typename Work, typename Emit>
void for_windows(const std::vector<Ids>& sources, const std::vector<Ids>& targets,
                 std::int64_t size, Work work, Emit emit) {
  constexpr std::int64_t kBatches = 64;
  const auto length = [&](std::size_t line) {
    return sources[line].size() + (targets.empty() ? 0 : targets[line].size());
  };
  const auto batch_size = static_cast<std::size_t>(size);
  for (std::size_t begin = 0; begin < sources.size(); begin += batch_size * kBatches) {
    std::vector<std::size_t> order(std::min(sources.size() - begin, batch_size * kBatches));
    std::iota(order.begin(), order.end(), begin);
    const std::size_t end = begin + order.size();
    std::erase_if(order, [&](std::size_t line) { return sources[line].empty(); });
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return length(a) < length(b); });
    for (std::size_t at = 0; at < order.size(); at += batch_size) {
      const auto lines =
          std::span<const std::size_t>(order).subspan(at, std::min(order.size() - at, batch_size));
      work(make_batch(sources, targets, lines), lines);
    }
    for (std::size_t line = begin; line < end; ++line) emit(line);
    std::cout.flush();
  }
}

int translate(const Request& request) {
  Translator translator(request.checkpoint);
  const auto& deck = translator.config().decode;
  const th::model::SearchOptions options{
      request.beam.value_or(deck.beam), request.length_penalty.value_or(deck.length_penalty),
      request.max_length.value_or(deck.max_length), request.best.value_or(1)};
  require(options.best <= options.beam,
          "--n-best " + std::to_string(options.best) + " asks for more than the beam's " +
              std::to_string(options.beam) + " hypotheses; raise --beam");
  const std::string too_long = translator.too_long(request.max_length.value_or(0));
  require(too_long.empty(), "--max-length: a target of " + too_long);
  const std::vector<std::string> lines_in = read_lines(request.input);
  std::vector<Ids> sources = translator.source_ids(lines_in);
  std::vector<std::string> texts(sources.size());
  for (std::size_t line = 0; line < sources.size(); ++line) {
    if (!th::data::is_white(lines_in[line])) continue;
    sources[line].clear();  // without words there is nothing to translate
    texts[line] = request.best ? std::to_string(line) + "\t0\t\n" : "\n";
  }
  translator.prepare(std::max(options.max_length, longest_of(sources)), request.parameters);
  for_windows(
      sources, {}, request.batch,
      [&](const th::data::Batch& batch, std::span<const std::size_t> lines) {
        const auto results = translator.translate(batch, options);
        for (std::size_t i = 0; i < lines.size(); ++i) {
          std::string& text = texts[lines[i]];
          for (const th::model::Hypothesis& hypothesis : results[i]) {
            if (request.best)
              text += std::to_string(lines[i]) + "\t" + number_text(hypothesis.score) + "\t";
            text += translator.text(hypothesis.ids) + "\n";
          }
        }
      },
      [&](std::size_t line) { std::cout << std::exchange(texts[line], {}); });
  return 0;
}

int score(const Request& request) {
  const std::vector<std::string> source_lines = read_lines(request.input),
                                 target_lines = read_lines(request.target);
  if (source_lines.size() != target_lines.size()) {
    throw th::DataError(request.input + " has " + std::to_string(source_lines.size()) +
                        " lines and " + request.target + " has " +
                        std::to_string(target_lines.size()) +
                        "; a source and its target stand in the same line");
  }
  Translator translator(request.checkpoint);
  const std::vector<Ids> sources = translator.source_ids(source_lines);
  std::vector<Ids> targets;
  for (const std::string& line : target_lines) targets.push_back(translator.target_ids(line));
  const std::int64_t longest = longest_of(targets) - 2;  // without begin and end
  if (const std::string too_long = translator.too_long(longest); !too_long.empty())
    throw th::DataError("a target of " + too_long);
  translator.prepare(std::max(longest, longest_of(sources)), request.parameters);
  std::vector<double> scores(sources.size());
  for_windows(
      sources, targets, request.batch,
      [&](const th::data::Batch& batch, std::span<const std::size_t> lines) {
        const std::vector<double> sums = translator.score(batch);
        for (std::size_t i = 0; i < lines.size(); ++i) scores[lines[i]] = sums[i];
      },
      [&](std::size_t line) {
        std::cout << number_text(scores[line]) << "\t" << targets[line].size() - 1 << "\n";
      });
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Request request = parse(argc, argv);
    const int code = request.score ? score(request) : translate(request);
    std::cout.flush();
    if (!std::cout) throw th::DataError("the lines can't be written to standard output");
    return code;
  } catch (const th::Error& error) {
    std::cerr << "th_translate: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  }
}
