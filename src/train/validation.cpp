#include "th/train/validation.hpp"

#include "th/base/error.hpp"
#include "th/config/metrics.hpp"
#include "th/config/summarization.hpp"
#include "th/data/summary/hierarchical.hpp"
#include "th/model/decoding/search_options.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/process/child_program.hpp"
#include "th/score/bleu.hpp"
#include "th/score/chrf.hpp"
#include "th/score/exact.hpp"
#include "th/score/rouge.hpp"
#include "th/train/agreement.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace th::train {

namespace fs = std::filesystem;

using config::Metric;
using monitor::fixed;

namespace {

using Lines = std::vector<std::string>;

constexpr int kPercentDigits = 2, kShareDigits = 4;

void add_rouge(std::span<const std::string> hypotheses, std::span<const std::string> references,
               const score::RougeOptions& options, std::vector<Score>& scores) {
  const score::Rouge rouge = score::corpus_rouge(hypotheses, references, options);
  const std::string signature = score::signature(options);
  scores.push_back({"rouge1", "ROUGE-1", rouge.one.f, signature, ""});
  scores.push_back({"rouge2", "ROUGE-2", rouge.two.f, signature, ""});
  scores.push_back({"rougeL", "ROUGE-L", rouge.longest.f, signature, ""});
  scores.push_back({"rougeLsum", "ROUGE-Lsum", rouge.summary.f, signature, ""});
}

Score bleu_score(std::span<const std::string> hypotheses, std::span<const std::string> references,
                 const config::ValidSection& valid) {
  const score::BleuOptions options{valid.bleu_tokenizer, valid.bleu_smoothing, {}};
  const score::Bleu bleu = score::corpus_bleu(hypotheses, references, options);
  return {"bleu", "BLEU", bleu.value, score::signature(options), score::why_zero(bleu, options)};
}

/// A whole finite number with white space around it.
std::optional<double> number_of(const std::string& text) {
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  auto begin = text.begin(), end = text.end();
  while (begin != end && is_space(*begin)) ++begin;
  while (begin != end && is_space(*(end - 1))) --end;
  if (begin != end && *begin == '+') ++begin;
  const std::string word(begin, end);
  double value = 0;
  const auto read = std::from_chars(word.data(), word.data() + word.size(), value);
  if (word.empty() || read.ec != std::errc() || read.ptr != word.data() + word.size() ||
      !std::isfinite(value))
    return std::nullopt;
  return value;
}

void write_lines(const std::string& path, const Lines& lines) {
  std::ofstream out(path, std::ios::trunc);
  for (const std::string& line : lines) out << line << "\n";
  if (!out.flush())
    throw DeckError("run.output_dir: " + path + " can't be written: is the disk full?");
}

/// How many sentences, the first ones, validation's scores are of.
std::int64_t scored(const config::RunConfig& config, std::int64_t sentences) {
  return config.valid.max_lines > 0 ? std::min(config.valid.max_lines, sentences) : sentences;
}

std::vector<std::int64_t> sample_places(const config::RunConfig& config, std::int64_t sentences) {
  const std::int64_t of = scored(config, sentences);
  const std::int64_t count = std::min(config.monitor.sample_lines, of);
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < count; ++i) places.push_back(i * of / count);
  return places;
}

bool scores_translations(const config::RunConfig& config) {
  const std::vector<Metric> metrics = config::metrics_of(config.valid);
  return std::any_of(metrics.begin(), metrics.end(), config::needs_translations);
}

}  // namespace

std::vector<Score> text_scores(std::span<const std::string> hypotheses,
                               std::span<const std::string> references,
                               const config::ValidSection& valid,
                               const std::vector<Metric>& metrics) {
  std::vector<Score> scores;
  for (const Metric metric : metrics) {
    if (metric == Metric::kBleu) scores.push_back(bleu_score(hypotheses, references, valid));
    if (metric == Metric::kChrf) {
      const score::ChrfOptions options{valid.chrf_word_order};
      scores.push_back({"chrf", score::name_of(options),
                        score::corpus_chrf(hypotheses, references, options),
                        score::signature(options), ""});
    }
    if (metric == Metric::kRouge) add_rouge(hypotheses, references, {valid.rouge_units}, scores);
    if (metric == Metric::kExact) {
      const auto exact = static_cast<double>(score::exact_lines(hypotheses, references));
      const auto lines = static_cast<double>(std::max<std::size_t>(1, hypotheses.size()));
      scores.push_back({"exact", "exact", exact / lines, score::exact_signature(), ""});
    }
  }
  return scores;
}

std::string log_text(const std::vector<Score>& scores) {
  std::string text;
  for (const Score& score : scores) {
    const bool percent = score.metric == "bleu" || score.metric == "chrf";
    text += (text.empty() ? "" : ", ") + score.label + " = " +
            fixed(score.value, percent ? kPercentDigits : kShareDigits) +
            (score.note.empty() ? "" : " (" + score.note + ")");
  }
  return text;
}

namespace {

/// Decodes batches by the run's parameters.
class RunDecoder {
 public:
  explicit RunDecoder(const RunParts& run) : run_(run) {
    if (!run.device.on_gpu()) return;
    const runtime::MemoryScope tables(runtime::MemoryClass::kActivations);
    host_.emplace(model::TransformerSpec{run.config.model, run.data.source_vocabulary,
                                         run.data.target_vocabulary, run.data.longest,
                                         run.data.source_per_target},
                  model::resolve_gemm(run.config.run.gemm), model::Arithmetic::kCompute,
                  model::host_compute(run.config.run));
  }
  /// As translate_corpus(). Within with_decoding_parameters(). Collective.
  [[nodiscard]] std::optional<Lines> operator()(const EvaluationBatches& batches) {
    const config::DecodeSection& decode = run_.config.decode;
    run_.memory.saw_decoding(batches.shapes(), batches.bytes(), decode.max_length);
    const data::Tokenizer& target = *run_.data.dataset.target_tokenizer;
    return translate_corpus(host_ ? *host_ : run_.model, run_.engine, run_.control, batches,
                            {target, model::search_options(decode, run_.config.run.seed, target),
                             run_.stop, run_.sharded, run_.together});
  }

 private:
  const RunParts& run_;
  std::optional<model::Transformer> host_;  // decodes in place of a GPU's
  const model::ActivationLedger of_host_{runtime::MemoryLedger::process()};
};

/// The sources of some sentences as they were before they were cut to the window, where chunks of
/// them are summarized; none where all are within it.
data::Sources long_documents(const RunParts& run, const data::ParallelCorpus& corpus,
                             std::span<const std::int64_t> sentences) {
  if (!config::summarizes_in_chunks(run.config) || corpus.info().counts.cut == 0) return {};
  const std::int64_t window = config::summary_window(run.config).length;
  const Lines lines = corpus.source_lines();
  data::Sources documents;
  bool longer = false;
  for (const std::int64_t sentence : sentences) {
    const std::int64_t line = corpus.line_of(sentence);
    documents.ids.push_back(data::encode_source(
        *run.data.dataset.source_tokenizer, lines[static_cast<std::size_t>(line)], data::kUncut));
    documents.numbers.push_back(static_cast<std::uint64_t>(line));
    longer = longer || std::ssize(documents.ids.back()) > window;
  }
  return longer ? documents : data::Sources();
}

}  // namespace

std::optional<std::vector<std::string>> translate_sentences(
    const RunParts& run, const data::ParallelCorpus& corpus,
    std::span<const std::int64_t> sentences) {
  const config::DataSection& section = run.config.data;
  const std::int64_t rank = run.control.rank(), ranks = run.control.size();
  data::Sources documents;
  run_agreed(run.control, [&] { documents = long_documents(run, corpus, sentences); });
  RunDecoder decode(run);
  std::optional<Lines> lines;
  with_decoding_parameters(run.config, run.engine, [&] {
    if (documents.ids.empty()) {
      lines = decode(EvaluationBatches(corpus, section, rank, ranks, sentences));
      return;
    }
    const std::optional<Lines> summaries = data::summarize_documents(
        std::move(documents), config::summary_window(run.config),
        *run.data.dataset.source_tokenizer, [&](const data::Sources& sources) {
          return decode(EvaluationBatches(sources, section, rank, ranks));
        });
    if (!summaries) return;
    lines.emplace(static_cast<std::size_t>(corpus.size()));
    for (std::size_t i = 0; i < sentences.size(); ++i)
      (*lines)[static_cast<std::size_t>(sentences[i])] = (*summaries)[i];
  });
  return lines;
}

std::vector<std::int64_t> translated_in_validation(const config::RunConfig& config,
                                                   std::int64_t sentences) {
  if (!scores_translations(config)) return sample_places(config, sentences);
  std::vector<std::int64_t> all(static_cast<std::size_t>(scored(config, sentences)));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}

void require_script(const config::RunConfig& config) {
  const std::string& script = config.valid.script;
  std::error_code ignored;
  if (!script.empty() &&
      (!fs::is_regular_file(script, ignored) || access(script.c_str(), X_OK) != 0))
    throw DeckError("valid.script: " + script +
                    " is no program that can be run; give the path of one, with its permission "
                    "to be executed (chmod +x)");
}

Validator::Validator(const RunParts& run)
    : run_(run),
      corpus_(*run.data.dataset.valid),
      translated_(translated_in_validation(run.config, corpus_.size())),
      samples_(sample_places(run.config, corpus_.size())),
      scores_text_(scores_translations(run.config)) {
  run_agreed(run_.control, [&] {
    if (run_.control.rank() != 0 || translated_.empty()) return;
    require_script(run_.config);
    (void)corpus_.source_lines();  // an index without them is refused now, not at the first score
    (void)corpus_.target_lines();
  });
}

std::optional<Validation> Validator::run(std::int64_t step) {
  Validation result;
  const config::RunConfig& config = run_.config;
  run_.watchdog.enter("validation", step);
  {
    const EvaluationBatches batches(corpus_, config.data, run_.control.rank(), run_.control.size());
    run_.memory.saw_evaluation(batches.shapes(), batches.bytes());
    std::optional<double> loss;
    with_decoding_parameters(config, run_.engine, [&] {
      loss = evaluate_loss(run_.model, run_.engine, run_.control, batches, run_.stop);
    });
    if (!loss) return std::nullopt;
    result.loss = *loss;
  }
  const Metric best = config::best_metric(config.valid);
  if (!config::needs_translations(best))
    result.best = best == Metric::kLoss ? result.loss : std::exp(result.loss);
  const std::vector<Metric> metrics = config::metrics_of(config.valid);
  if (std::find(metrics.begin(), metrics.end(), Metric::kPerplexity) != metrics.end())
    result.scores.push_back({"perplexity", "perplexity", std::exp(result.loss), "", ""});
  if (result.best && !std::isfinite(*result.best)) result.best.reset();
  if (translated_.empty()) return result;
  run_.watchdog.enter("decoding", step);
  const std::optional<Lines> translations = translate_sentences(run_, corpus_, translated_);
  if (!translations) return std::nullopt;
  const Lines& lines = *translations;
  run_.watchdog.enter("scoring", step);
  std::string value;  // rank 0's, of the best metric
  run_agreed(run_.control, [&] {
    if (run_.control.rank() != 0) return;
    score(lines, result);
    std::array<char, 64> digits{};
    if (result.best)
      value.assign(digits.data(),
                   std::to_chars(digits.data(), digits.data() + digits.size(), *result.best).ptr);
  });
  run_.control.broadcast(value, 0);
  result.best = number_of(value);
  return result;
}

void Validator::score(const Lines& hypotheses, Validation& result) {
  // Read again for each score: between validations their memory is the training's.
  const Lines sources = corpus_.source_lines(), references = corpus_.target_lines();
  const auto line_of = [&](std::int64_t pair) {
    return static_cast<std::size_t>(corpus_.line_of(pair));
  };
  for (const std::int64_t place : samples_) {
    const std::size_t line = line_of(place);
    result.samples.push_back(
        {sources[line], references[line], hypotheses[static_cast<std::size_t>(place)]});
  }
  if (!scores_text_) return;
  const config::ValidSection& valid = run_.config.valid;
  Lines mine, theirs, given;
  for (const std::int64_t place : translated_) {
    mine.push_back(hypotheses[static_cast<std::size_t>(place)]);
    theirs.push_back(references[line_of(place)]);
    if (!valid.script.empty()) given.push_back(sources[line_of(place)]);
  }
  for (Score& score : text_scores(mine, theirs, valid, valid.metrics))
    result.scores.push_back(std::move(score));
  if (!valid.script.empty()) {
    const std::optional<double> number = run_script(mine, theirs, given);
    if (number) result.scores.push_back({"script", "script", *number, "", ""});
  }
  const Metric best = config::best_metric(valid);
  if (!config::needs_translations(best)) return;
  const std::string name = best == Metric::kRouge ? "rougeL" : config::name_of(best);
  for (const Score& score : result.scores)
    if (score.metric == name && std::isfinite(score.value)) result.best = score.value;
}

std::string Validator::file(const char* end) const {
  return (fs::absolute(run_.config.run.output_dir) / (std::string("valid.") + end)).string();
}

std::optional<double> Validator::run_script(const Lines& hypotheses, const Lines& references,
                                            const Lines& sources) const {
  const config::ValidSection& valid = run_.config.valid;
  write_lines(file("hyp"), hypotheses);
  write_lines(file("ref"), references);
  write_lines(file("source"), sources);
  std::string trouble;
  try {
    const runtime::ChildResult result = runtime::run_program(
        valid.script, {file("hyp"), file("ref"), file("source")}, valid.script_seconds);
    using End = runtime::ChildResult::End;
    const std::optional<double> number = number_of(result.output);
    if (result.end == End::kExited && result.code == 0 && number) return number;
    if (result.end == End::kTimedOut)
      trouble = "took longer than valid.script_seconds = " + fixed(valid.script_seconds, 2);
    else if (result.end == End::kSignalled)
      trouble = "was ended by signal " + std::to_string(result.code);
    else if (result.code != 0)
      trouble = "ended with code " + std::to_string(result.code);
    else
      trouble = "wrote '" + result.output.substr(0, result.output.find('\n')).substr(0, 60) +
                "', which is not one number";
  } catch (const InternalError& error) {
    trouble = error.what();  // "can't be started: …"
  }
  run_.log.warn("valid.script: " + valid.script + " " + trouble +
                "; this validation has no score of it");
  return std::nullopt;
}

}  // namespace th::train
