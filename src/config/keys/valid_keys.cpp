#include "config/key_table.hpp"
#include "th/config/metrics.hpp"
#include "th/score/names.hpp"

#include <algorithm>
#include <iterator>
#include <sstream>

// The keys of the deck's section [valid], and what follows from them.
namespace th::config {

namespace {

constexpr std::pair<const char*, Metric> kMetrics[] = {
    {"loss", Metric::kLoss},    {"perplexity", Metric::kPerplexity}, {"bleu", Metric::kBleu},
    {"chrf", Metric::kChrf},    {"rouge", Metric::kRouge},           {"exact", Metric::kExact},
    {"script", Metric::kScript}};
constexpr const char* kListed = "loss, perplexity, bleu, chrf, rouge, exact";

std::optional<Metric> metric_of(const std::string& name) {
  for (const auto& [text, metric] : kMetrics)
    if (name == text) return metric;
  return std::nullopt;
}

/// Reads "loss,bleu" and "loss, bleu"; returns what is wrong: an unknown, repeated or missing name.
std::string read_metrics(const std::string& text, std::vector<Metric>& metrics) {
  std::vector<Metric> read;
  std::istringstream words(text + ",");
  for (std::string word; std::getline(words, word, ',');) {
    word.erase(0, std::min(word.find_first_not_of(' '), word.size()));
    word.erase(word.find_last_not_of(' ') + 1);
    const std::optional<Metric> metric = metric_of(word);
    if (word.empty()) return "has a comma without a name";
    if (metric == Metric::kScript)
      return "names script, which valid.script computes without being named";
    if (!metric) return "names '" + word + "', which is no metric";
    if (std::find(read.begin(), read.end(), *metric) != read.end())
      return "names " + word + " twice";
    read.push_back(*metric);
  }
  metrics = std::move(read);
  return "";
}

Key metrics_key() {
  Key key =
      named_key("valid.metrics", "text", "loss", std::string(kListed) + "; several with commas",
                "What validation computes (docs/scores.md). bleu, chrf, rouge and exact translate "
                "the validation text, which takes time.");
  key.set = [](RunConfig& c, const std::string& text) {
    return read_metrics(text, c.valid.metrics).empty();
  };
  key.why = [](const std::string& text) {
    std::vector<Metric> ignored;
    return text.empty() ? "names no metric" : read_metrics(text, ignored);
  };
  key.get = [](const RunConfig& c) {
    std::string text;
    for (const Metric metric : c.valid.metrics) {
      if (!text.empty()) text += ',';
      text += name_of(metric);
    }
    return text;
  };
  return key;
}

Key best_metric_key() {
  Key key = named_key("valid.best_metric", "choice", "first",
                      std::string("first, ") + kListed + ", script",
                      "The metric by which valid.patience, checkpoint.keep_best and the log "
                      "compare validations. first: the first of valid.metrics; rouge: ROUGE-L.");
  key.set = [](RunConfig& c, const std::string& text) {
    const std::optional<Metric> metric = metric_of(text);
    if (!metric && text != "first") return false;
    c.valid.best_metric = metric;
    return true;
  };
  key.get = [](const RunConfig& c) {
    return std::string(c.valid.best_metric ? name_of(*c.valid.best_metric) : "first");
  };
  return key;
}

template <typename Enum, std::size_t N>
Choices<Enum> choices(const std::pair<const char*, Enum> (&table)[N]) {
  return {std::begin(table), std::end(table)};
}

/// The key has no effect where nothing of this kind is asked for.
template <typename Asked>
Key idle_unless(Key key, Asked asked, std::string why) {
  key.idle = [asked, why = std::move(why)](const RunConfig& c) {
    return !validates(c) ? "there is no validation text" : asked(c) ? std::string() : why;
  };
  return key;
}

bool has(const RunConfig& c, Metric metric) {
  const std::vector<Metric>& all = c.valid.metrics;
  return std::find(all.begin(), all.end(), metric) != all.end();
}

bool always(const RunConfig&) { return true; }
bool scripted(const RunConfig& c) { return !c.valid.script.empty(); }

bool tests(const RunConfig& c) {
  return c.data.synthetic == Synthetic::kNone && !c.data.test_source.empty();
}

/// How BLEU, chrF and ROUGE count, in validation and for the test set, which has BLEU where the
/// task is to translate, and ROUGE where it is to summarize.
void add_score_options(std::vector<Key>& t) {
  const auto bleu = [](Key key) {
    key.idle = [](const RunConfig& c) {
      const bool asked = has(c, Metric::kBleu);
      const bool of_tests = tests(c) && (asked || c.run.task == Task::kTranslation);
      return of_tests || (validates(c) && asked) ? "" : "no BLEU is computed";
    };
    return key;
  };
  t.push_back(bleu(choice_key("valid.bleu_tokenizer", TH_AT(valid.bleu_tokenizer),
                              choices(score::kBleuTokenizers),
                              "How BLEU finds words, in validation and for the test set.")));
  t.push_back(bleu(choice_key(
      "valid.bleu_smoothing", TH_AT(valid.bleu_smoothing), choices(score::kSmoothings),
      "What BLEU takes for an order without a match, in validation and for the test set.")));
  t.push_back(idle_unless(
      integer_key(
          "valid.chrf_word_order", TH_AT(valid.chrf_word_order), 0, 6,
          "chrF counts sequences of up to so many words beside characters. 0: chrF2, 2: chrF2++."),
      [](const RunConfig& c) { return has(c, Metric::kChrf); }, "valid.metrics has no chrf"));
  Key units = idle_unless(
      choice_key(
          "valid.rouge_units", TH_AT(valid.rouge_units), choices(score::kRougeUnits),
          "ROUGE counts words of Latin letters and digits, or characters, as Chinese needs."),
      [](const RunConfig& c) { return has(c, Metric::kRouge); }, "valid.metrics has no rouge");
  units.idle = [of_validation = units.idle](const RunConfig& c) {
    const bool of_tests = tests(c) && c.run.task == Task::kSummarization;
    return of_tests ? std::string() : of_validation(c);
  };
  t.push_back(units);
}

}  // namespace

void add_valid(std::vector<Key>& t) {
  t.push_back(idle_unless(metrics_key(), always, ""));
  t.push_back(idle_unless(
      integer_key(
          "valid.max_lines", TH_AT(valid.max_lines), 0, kMost,
          "Validation translates only so many first lines; the loss is that of all. 0: all."),
      translates_in_validation, "validation translates nothing"));
  t.push_back(idle_unless(path_key("valid.script", TH_AT(valid.script),
                                   "A program that gets three file names (hypotheses, references, "
                                   "sources) and writes one number, which is the metric script."),
                          always, ""));
  t.push_back(idle_unless(
      number_key("valid.script_seconds", TH_AT(valid.script_seconds), {.low = 0.01, .high = 86400},
                 "A script that takes longer is ended, with a warning and no score."),
      scripted, "there is no valid.script"));
  t.push_back(idle_unless(
      choice_key("valid.script_better", TH_AT(valid.script_better),
                 Choices<Better>{{"higher", Better::kHigher}, {"lower", Better::kLower}},
                 "Which of two scores of the script is better."),
      scripted, "there is no valid.script"));
  add_score_options(t);
  t.push_back(idle_unless(integer_key("valid.patience", TH_AT(valid.patience), 0, kMost,
                                      "So many validations in a row without a better "
                                      "valid.best_metric end the run. 0: none do."),
                          always, ""));
  t.push_back(idle_unless(
      best_metric_key(),
      [](const RunConfig& c) { return c.valid.patience > 0 || c.checkpoint.keep_best > 0; },
      "valid.patience and checkpoint.keep_best are 0, so that no validations are compared"));
}

const char* name_of(Metric metric) {
  for (const auto& [text, known] : kMetrics)
    if (metric == known) return text;
  return "";
}

std::vector<Metric> metrics_of(const ValidSection& valid) {
  std::vector<Metric> metrics = valid.metrics;
  if (!valid.script.empty()) metrics.push_back(Metric::kScript);
  return metrics;
}

Metric best_metric(const ValidSection& valid) {
  return valid.best_metric.value_or(valid.metrics.front());
}

Better better_of(Metric metric, const ValidSection& valid) {
  if (metric == Metric::kScript) return valid.script_better;
  return metric == Metric::kLoss || metric == Metric::kPerplexity ? Better::kLower
                                                                  : Better::kHigher;
}

bool needs_translations(Metric metric) {
  return metric != Metric::kLoss && metric != Metric::kPerplexity;
}

std::vector<std::pair<std::string, std::string>> metric_definition(const RunConfig& config) {
  const Metric best = best_metric(config.valid);
  std::vector<std::pair<std::string, std::string>> definition{{"valid.best_metric", name_of(best)}};
  std::vector<std::string> names;
  if (best == Metric::kBleu) names = {"valid.bleu_tokenizer", "valid.bleu_smoothing"};
  if (best == Metric::kChrf) names = {"valid.chrf_word_order"};
  if (best == Metric::kRouge) names = {"valid.rouge_units"};
  if (best == Metric::kScript) names = {"valid.script", "valid.script_better"};
  if (needs_translations(best)) names.emplace_back("valid.max_lines");
  for (const Key& key : keys()) {
    const bool searches = key.name.rfind("decode.", 0) == 0 && key.name != "decode.sharded";
    if (key.name == "decode.parameters" || (searches && needs_translations(best)))
      names.push_back(key.name);
  }
  for (const std::string& name : names) definition.emplace_back(name, find_key(name)->get(config));
  return definition;
}

bool translates_in_validation(const RunConfig& config) {
  const std::vector<Metric> metrics = metrics_of(config.valid);
  return config.monitor.sample_lines > 0 ||
         std::any_of(metrics.begin(), metrics.end(), needs_translations);
}

}  // namespace th::config
