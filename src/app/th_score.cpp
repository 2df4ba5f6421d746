#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/data/text.hpp"
#include "th/score/bleu.hpp"
#include "th/score/chrf.hpp"
#include "th/score/exact.hpp"
#include "th/score/names.hpp"
#include "th/score/rouge.hpp"

#include <boost/program_options.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

// th_score: the scores of translations or summaries against one reference a line.
namespace {

namespace po = boost::program_options;
using Lines = std::vector<std::string>;

struct Request {
  std::vector<std::string> metrics;
  std::string input, target, separator;
  th::score::BleuOptions bleu;
  th::score::ChrfOptions chrf;
  th::score::RougeOptions rouge;
};

template <typename Enum, std::size_t N>
Enum choice(const std::string& option, const std::string& text,
            const std::pair<const char*, Enum> (&table)[N]) {
  std::string names;
  for (const auto& [name, value] : table) {
    if (text == name) return value;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw th::DeckError(option + " " + text + ": not known; allowed " + names);
}

std::vector<std::string> metrics_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    if (word != "bleu" && word != "chrf" && word != "rouge" && word != "exact")
      throw th::DeckError("--metric " + text + ": '" + word +
                          "' is not known; allowed bleu, chrf, rouge, exact, with commas");
    out.push_back(word);
  }
  if (out.empty()) throw th::DeckError("--metric is empty; allowed bleu, chrf, rouge, exact");
  return out;
}

Request parse(int argc, char** argv) {
  Request request;
  std::string metric, tokenizer = "13a", smoothing = "exp", units = "words";
  std::optional<double> value;
  po::options_description options(
      "th_score --metric bleu|chrf|rouge|exact --input HYP --target REF: a line for each score "
      "with "
      "its signature; docs/scores.md says what each is");
  auto add = options.add_options();
  add("help,h", "this text");
  add("version", "of the program");
  add("metric", po::value(&metric)->required(), "one or several with commas");
  add("input", po::value(&request.input),
      "the hypotheses, one a line, .gz is read too; without it standard input");
  add("target", po::value(&request.target)->required(), "the references, line by line");
  add("bleu-tokenizer", po::value(&tokenizer), "13a, none, char, zh");
  add("smoothing", po::value(&smoothing), "of BLEU: exp, floor, add-k, none");
  add("smoothing-value", po::value<double>()->notifier([&value](double given) { value = given; }),
      "of floor (0.1) and add-k (1)");
  add("word-order", po::value(&request.chrf.word_order),
      "chrF's words up to so many; 0: chrF2, 2: chrF2++");
  add("rouge-units", po::value(&units),
      "words (Latin letters and digits), or characters, as for Chinese");
  add("sentence-separator", po::value(&request.separator),
      "of ROUGE-Lsum: the text between the sentences of a line; without it a line is one");
  try {
    po::variables_map values;
    const po::positional_options_description none;  // a word without an option is refused
    po::store(po::command_line_parser(argc, argv).options(options).positional(none).run(), values);
    if (values.contains("help")) {
      std::cout << options;
      std::exit(0);
    }
    if (values.contains("version")) {
      std::cout << "th_score " << th::build_line() << "\n";
      std::exit(0);
    }
    po::notify(values);
  } catch (const po::error& error) {
    throw th::DeckError(std::string(error.what()) +
                        "; usage: th_score --metric METRIC --input HYP --target REF, --help lists "
                        "the options");
  }
  request.metrics = metrics_of(metric);
  request.bleu.tokenizer = choice("--bleu-tokenizer", tokenizer, th::score::kBleuTokenizers);
  request.bleu.smoothing = choice("--smoothing", smoothing, th::score::kSmoothings);
  request.rouge.units = choice("--rouge-units", units, th::score::kRougeUnits);
  if (request.chrf.word_order < 0 || request.chrf.word_order > 6)
    throw th::DeckError("--word-order must be from 0 to 6");
  if (!value) return request;
  if (!(std::isfinite(*value) && *value > 0))
    throw th::DeckError("--smoothing-value must be a number above 0");
  if (request.bleu.smoothing != th::score::Smoothing::kFloor &&
      request.bleu.smoothing != th::score::Smoothing::kAddK)
    throw th::DeckError("--smoothing-value is for --smoothing floor and add-k");
  request.bleu.smoothing_value = *value;
  return request;
}

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

/// The separator of the user becomes a newline, which parts sentences.
Lines with_sentences(const Lines& lines, const std::string& separator) {
  if (separator.empty()) return lines;
  Lines out;
  for (std::string line : lines) {
    for (std::size_t at = line.find(separator); at != std::string::npos;
         at = line.find(separator, at + 1))
      line.replace(at, separator.size(), 1, '\n');
    out.push_back(std::move(line));
  }
  return out;
}

void print_bleu(const Request& request, const Lines& hypotheses, const Lines& references) {
  const th::score::Bleu bleu = th::score::corpus_bleu(hypotheses, references, request.bleu);
  const std::string why = th::score::why_zero(bleu, request.bleu);
  std::cout << "BLEU|" << th::score::signature(request.bleu) << " = " << fixed(bleu.value, 2) << " "
            << th::score::details(bleu) << (why.empty() ? "" : ": ") << why << "\n";
}

void print_rouge(const Request& request, const Lines& hypotheses, const Lines& references) {
  const th::score::Rouge rouge =
      th::score::corpus_rouge(with_sentences(hypotheses, request.separator),
                              with_sentences(references, request.separator), request.rouge);
  const std::pair<const char*, const th::score::RougeScore*> rows[] = {
      {"rouge1", &rouge.one},
      {"rouge2", &rouge.two},
      {"rougeL", &rouge.longest},
      {"rougeLsum", &rouge.summary}};
  for (const auto& [name, score] : rows)
    std::cout << name << "|" << th::score::signature(request.rouge) << " = " << fixed(score->f, 4)
              << " (precision " << fixed(score->precision, 4) << " recall "
              << fixed(score->recall, 4) << ")\n";
}

void print_exact(const Lines& hypotheses, const Lines& references) {
  const auto exact = static_cast<double>(th::score::exact_lines(hypotheses, references));
  std::cout << "exact|" << th::score::exact_signature() << " = "
            << fixed(exact / static_cast<double>(hypotheses.size()), 4) << " (" << fixed(exact, 0)
            << " of " << hypotheses.size() << " lines)\n";
}

void score(const Request& request) {
  const th::data::TextFile hypotheses =
      request.input.empty()
          ? th::data::text_of(std::string(std::istreambuf_iterator<char>(std::cin), {}),
                              "standard input")
          : th::data::read_text(request.input);
  const th::data::TextFile references = th::data::read_text(request.target);
  if (hypotheses.lines.size() != references.lines.size())
    throw th::DataError(hypotheses.path + " has " + std::to_string(hypotheses.lines.size()) +
                        " lines and " + references.path + " has " +
                        std::to_string(references.lines.size()) +
                        "; a hypothesis and its reference stand in the same line");
  if (hypotheses.lines.empty())
    throw th::DataError(hypotheses.path + " and " + references.path + " have no lines to score");
  for (const std::string& metric : request.metrics) {
    if (metric == "bleu") print_bleu(request, hypotheses.lines, references.lines);
    if (metric == "chrf")
      std::cout << th::score::name_of(request.chrf) << "|" << th::score::signature(request.chrf)
                << " = "
                << fixed(th::score::corpus_chrf(hypotheses.lines, references.lines, request.chrf),
                         2)
                << "\n";
    if (metric == "rouge") print_rouge(request, hypotheses.lines, references.lines);
    if (metric == "exact") print_exact(hypotheses.lines, references.lines);
  }
  std::cout.flush();
  if (!std::cout) throw th::DataError("the scores can't be written to standard output");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    score(parse(argc, argv));
    return 0;
  } catch (const th::Error& error) {
    std::cerr << "th_score: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::cerr << "th_score: " << error.what() << "\n";
    return static_cast<int>(th::ExitCode::kDiffers);
  }
}
