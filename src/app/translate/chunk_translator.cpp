#include "app/translate/chunk_translator.hpp"

#include "th/base/error.hpp"
#include "th/data/text.hpp"
#include "th/data/tokenizer/words.hpp"
#include "th/model/decoding/alignment.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

namespace th::app {

namespace {

/// Source ids that a batch of many sentences has at most: of long lines there are fewer.
constexpr std::int64_t kBatchIds = 1 << 16;

/// Shortest text that reads back to the same bits.
std::string number_text(double value) {
  std::array<char, 64> buffer{};
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

std::vector<std::int64_t> lengths_of(const std::vector<Ids>& sources) {
  std::vector<std::int64_t> lengths;
  for (const Ids& ids : sources) lengths.push_back(std::ssize(ids));
  return lengths;
}

std::int64_t longest_of(const std::vector<Ids>& sentences) {
  std::int64_t longest = 0;
  for (const Ids& ids : sentences) longest = std::max(longest, std::ssize(ids));
  return longest;
}

/// Begin, ids and end.
Ids framed(const Ids& ids) {
  Ids all{data::kBegin};
  all.insert(all.end(), ids.begin(), ids.end());
  all.push_back(data::kEnd);
  return all;
}

/// "0-0 1-2", of the target tokens that look at a source token.
std::string pairs_text(const Ids& sources) {
  std::string text;
  for (std::size_t t = 0; t < sources.size(); ++t) {
    if (sources[t] < 0) continue;
    if (!text.empty()) text += ' ';
    text.append(std::to_string(sources[t])).append("-").append(std::to_string(t));
  }
  return text;
}

/// The words of a translation, `text`, with the source word that it looks at in each unknown one's
/// place.
std::string with_source_words(const std::string& text, const Ids& ids, const std::string& source,
                              const Ids& aligned) {
  std::vector<std::string_view> words = data::split_words(text);
  const std::vector<std::string_view> of_source = data::split_words(source);
  ensure(words.size() == ids.size(), "words of a translation are not its ids");
  std::string replaced;
  for (std::size_t t = 0; t < words.size(); ++t) {
    const std::int32_t at = t < aligned.size() ? aligned[t] : -1;
    if (ids[t] == data::kUnknown && at >= 0 && at < std::ssize(of_source))
      words[t] = of_source[static_cast<std::size_t>(at)];
    replaced.append(t > 0 ? " " : "").append(words[t]);
  }
  return replaced;
}

}  // namespace

ChunkTranslator::ChunkTranslator(LoadedModel& model, BatchDecoder& decoder,
                                 const TranslatorPlan& plan)
    : model_(model), decoder_(decoder), plan_(plan) {}

ChunkTranslator::Source ChunkTranslator::source_of(const std::string& line) const {
  const data::Tokenizer& tokenizer = *model_.tokenizers().source;
  const std::int64_t learned = model_.learned();
  Ids ids = data::encode_source(tokenizer, line, data::kUncut);
  if (learned == 0 || std::ssize(ids) <= learned) return {std::move(ids), false};
  return {data::encode_source(tokenizer, line, learned), true};
}

Ids ChunkTranslator::source_ids(const Chunk& chunk, std::size_t line, ChunkResult& result) const {
  Source source = source_of(chunk.lines[line].text);
  if (source.cut) result.cut.push_back(chunk.first_line + static_cast<std::int64_t>(line) + 1);
  return std::move(source.ids);
}

std::vector<std::size_t> ChunkTranslator::by_length(const std::vector<std::int64_t>& lengths) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](std::size_t i) { return lengths[i] == 0; });
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lengths[a] < lengths[b]; });
  return order;
}

std::vector<std::span<const std::size_t>> ChunkTranslator::batches(
    std::span<const std::size_t> order, const std::vector<std::int64_t>& lengths) const {
  const bool by_tokens = plan_.batch_tokens > 0;
  const std::int64_t most = by_tokens ? plan_.batch_tokens : kBatchIds;
  std::vector<std::span<const std::size_t>> all;
  std::size_t begin = 0;
  std::int64_t ids = 0;
  for (std::size_t at = 0; at < order.size(); ++at) {
    const bool full = !by_tokens && static_cast<std::int64_t>(at - begin) == plan_.batch;
    if (at > begin && (full || ids + lengths[order[at]] > most)) {
      all.push_back(order.subspan(begin, at - begin));
      begin = at;
      ids = 0;
    }
    ids += lengths[order[at]];
  }
  if (begin < order.size()) all.push_back(order.subspan(begin));
  return all;
}

std::optional<std::vector<std::vector<model::Hypothesis>>> ChunkTranslator::decode(
    const std::vector<Ids>& sources, const std::vector<model::SentenceOptions>& sentences,
    const model::SearchOptions& options, const Stop& stop) {
  decoder_.make_room(longest_of(sources));
  std::vector<std::vector<model::Hypothesis>> all(sources.size());
  const std::vector<std::int64_t> lengths = lengths_of(sources);
  const std::vector<std::size_t> order = by_length(lengths);
  const std::vector<std::span<const std::size_t>> cut = batches(order, lengths);
  std::vector<BatchDecoder::Task> tasks;
  for (const std::span<const std::size_t> places : cut) {
    BatchDecoder::Task& task = tasks.emplace_back();
    for (const std::size_t place : places) {
      task.batch.append(sources[place], {});
      model::SentenceOptions& sentence = task.sentences.emplace_back(sentences[place]);
      if (plan_.shortlist)
        sentence.candidates = std::make_shared<const Ids>(
            plan_.shortlist->candidates(sources[place], sentence.prefix));
    }
  }
  auto results = decoder_.translate_all(tasks, options, stop);
  if (!results) return std::nullopt;
  for (std::size_t t = 0; t < cut.size(); ++t) {
    for (std::size_t i = 0; i < cut[t].size(); ++i) all[cut[t][i]] = std::move((*results)[t][i]);
  }
  return all;
}

std::vector<std::vector<Ids>> ChunkTranslator::align(
    const std::vector<Ids>& sources,
    const std::vector<std::vector<model::Hypothesis>>& hypotheses) {
  struct Pair {
    std::size_t line, hypothesis;
  };
  std::vector<Pair> pairs;
  std::vector<std::int64_t> lengths;
  std::vector<std::vector<Ids>> all(sources.size());
  std::int64_t longest = 0;
  for (std::size_t line = 0; line < sources.size(); ++line) {
    all[line].resize(hypotheses[line].size());
    for (std::size_t h = 0; h < hypotheses[line].size(); ++h) {
      if (!plan_.alignment && !has_unknown(hypotheses[line][h].ids)) continue;
      const std::int64_t written = std::ssize(hypotheses[line][h].ids);
      pairs.push_back({line, h});
      lengths.push_back(std::ssize(sources[line]) + written);
      longest = std::max({longest, written, std::ssize(sources[line])});
    }
  }
  model_.make_room(longest);
  const std::vector<std::size_t> order = by_length(lengths);
  for (const std::span<const std::size_t> places : batches(order, lengths)) {
    data::Batch batch;
    for (const std::size_t p : places)
      batch.append(sources[pairs[p].line],
                   framed(hypotheses[pairs[p].line][pairs[p].hypothesis].ids));
    auto aligned = model::align_targets(model_.model(), model_.parameters(), batch);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Pair& pair = pairs[places[i]];
      all[pair.line][pair.hypothesis] = std::move(aligned[i]);
    }
  }
  return all;
}

std::string ChunkTranslator::text_of(std::int64_t number, const std::string& source,
                                     const std::vector<model::Hypothesis>& hypotheses,
                                     std::span<const Ids> aligned) const {
  std::string text;
  for (std::size_t h = 0; h < hypotheses.size(); ++h) {
    if (plan_.numbered)
      text += std::to_string(number) + "\t" + number_text(hypotheses[h].score) + "\t";
    const Ids& ids = hypotheses[h].ids;
    const std::string words = model_.tokenizers().target->decode(ids);
    const bool replaces = plan_.replace_unknown && has_unknown(ids);
    text += replaces ? with_source_words(words, ids, source, aligned[h]) : words;
    if (plan_.alignment) text += "\t" + pairs_text(aligned[h]);
    text += "\n";
  }
  if (!hypotheses.empty()) return text;
  // Without words there is nothing to translate.
  text = plan_.numbered ? std::to_string(number) + "\t0\t" : "";
  return text + (plan_.alignment ? "\t\n" : "\n");
}

std::optional<ChunkResult> ChunkTranslator::translate(const Chunk& chunk, const Stop& stop) {
  if (plan_.window) return summarize(chunk, stop);
  ChunkResult result;
  result.number = chunk.number;
  std::vector<Ids> sources(chunk.lines.size());
  std::vector<model::SentenceOptions> sentences(chunk.lines.size());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const InputLine& line = chunk.lines[i];
    sentences[i].number = static_cast<std::uint64_t>(chunk.first_line) + i;
    if (!line.fault.empty() || data::is_white(line.text)) continue;
    sources[i] = source_ids(chunk, i, result);
    if (!plan_.prefix_name.empty())
      sentences[i].prefix =
          prefix_ids(*model_.tokenizers().target, line.beside,
                     line_place(plan_.prefix_name, sentences[i].number), plan_.longest_prefix);
  }
  const auto hypotheses = decode(sources, sentences, plan_.options, stop);
  if (!hypotheses) return std::nullopt;
  std::vector<std::vector<Ids>> aligned(sources.size());
  if (plan_.alignment || plan_.replace_unknown) aligned = align(sources, *hypotheses);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    result.text += text_of(static_cast<std::int64_t>(sentences[i].number), chunk.lines[i].text,
                           (*hypotheses)[i], aligned[i]);
    if (sources[i].empty()) continue;
    ++result.sentences;
    result.source_tokens += std::ssize(sources[i]) - 1;
    for (const model::Hypothesis& hypothesis : (*hypotheses)[i])
      result.target_tokens += std::ssize(hypothesis.ids);
    if (std::ssize((*hypotheses)[i]) < plan_.options.best) ++result.fewer;
  }
  return result;
}

std::optional<ChunkResult> ChunkTranslator::score(const Chunk& chunk, const Stop& stop) {
  ChunkResult result;
  result.number = chunk.number;
  std::vector<Ids> sources(chunk.lines.size()), targets(chunk.lines.size());
  std::vector<std::int64_t> lengths(chunk.lines.size());  // 0: the pair is not scored
  for (std::size_t i = 0; i < chunk.lines.size(); ++i) {
    const InputLine& line = chunk.lines[i];
    if (!line.fault.empty()) continue;
    Ids target = data::encode_target(*model_.tokenizers().target, line.beside, data::kUncut);
    const std::int64_t written = std::ssize(target) - 2;  // without begin and end
    if (const std::string why = model_.too_long(written); !why.empty()) {
      result.faults.push_back("line " +
                              std::to_string(chunk.first_line + static_cast<std::int64_t>(i) + 1) +
                              ": a target of " + why);
      continue;
    }
    sources[i] = source_ids(chunk, i, result);
    targets[i] = std::move(target);
    lengths[i] = std::ssize(sources[i]) + std::ssize(targets[i]);
    result.source_tokens += std::ssize(sources[i]) - 1;
    result.target_tokens += written;
  }
  decoder_.make_room(std::max(longest_of(sources), longest_of(targets)));
  std::vector<double> scores(sources.size());
  const std::vector<std::size_t> order = by_length(lengths);
  const std::vector<std::span<const std::size_t>> cut = batches(order, lengths);
  std::vector<BatchDecoder::Task> tasks(cut.size());
  for (std::size_t t = 0; t < cut.size(); ++t) {
    for (const std::size_t place : cut[t]) tasks[t].batch.append(sources[place], targets[place]);
  }
  const auto sums = decoder_.score_all(tasks, stop);
  if (!sums) return std::nullopt;
  for (std::size_t t = 0; t < cut.size(); ++t) {
    for (std::size_t i = 0; i < cut[t].size(); ++i) scores[cut[t][i]] = (*sums)[t][i];
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (lengths[i] > 0)
      result.text += number_text(scores[i]) + "\t" + std::to_string(targets[i].size() - 1);
    result.text += "\n";
  }
  return result;
}

}  // namespace th::app
