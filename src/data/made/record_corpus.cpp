#include "th/data/made/record_corpus.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "data/made/draws.hpp"
#include "data/made/record_document.hpp"
#include "data/made/word_counts.hpp"
#include "th/base/error.hpp"

namespace th::data {

namespace {

/// Words of the shortest document of one window.
constexpr std::int64_t kShortest = 48;

std::int64_t draw_length(std::int64_t windows, Draws& draws) {
  return windows == 1 ? draws.between(kShortest, kRecordWindow) : windows * kRecordWindow;
}

SentencePair whole_document(const Record& record, std::int64_t windows, Draws& draws) {
  const RecordDocument document(record, draw_length(windows, draws), draws);
  return {document.text(0, document.size()), headline(record, kAllFields)};
}

RecordDocument long_document(const Record& record, Draws& draws) {
  return {record, draws.between(2, kMostRecordWindows) * kRecordWindow, draws};
}

/// Most windows are full.
std::int64_t draw_chunk(std::int64_t least, Draws& draws) {
  return draws.below(10) < 7 ? kRecordWindow : draws.between(least, kRecordWindow);
}

SentencePair part_of_document(const Record& record, Draws& draws) {
  const RecordDocument document = long_document(record, draws);
  const std::int64_t words = draw_chunk(kLongestSentence, draws);
  const std::int64_t begin = draws.below(document.size() - words + 1);
  return {document.text(begin, words), headline(record, document.fields(begin, words))};
}

/// The headlines of a document's chunks, as hierarchical decoding joins them. Every field is whole
/// in one of them, because chunks share as many words as a sentence has.
SentencePair joined_headlines(const Record& record, Draws& draws) {
  const RecordDocument document = long_document(record, draws);
  const std::int64_t chunk = draw_chunk(2 * kLongestSentence, draws);
  const std::int64_t most = std::min(chunk / 2, std::int64_t{kLongestSentence + 8});
  const std::int64_t overlap = draws.between(kLongestSentence - 1, most);
  std::string joined;
  for (std::int64_t begin = 0, end = 0; end < document.size(); begin += chunk - overlap) {
    end = std::min(begin + chunk, document.size());
    if (begin > 0) joined += ' ';
    joined += headline(record, document.fields(begin, end - begin));
  }
  return {joined, headline(record, kAllFields)};
}

SentencePair training_pair(const Record& record, Draws& draws) {
  const std::int64_t kind = draws.below(4);
  if (kind < 2) return whole_document(record, 1, draws);
  return kind == 2 ? part_of_document(record, draws) : joined_headlines(record, draws);
}

bool fits(const std::string& source) {
  return std::count(source.begin(), source.end(), ' ') < kRecordWindow;
}

}  // namespace

MadeCorpus make_record_corpus(std::int64_t pairs, std::uint64_t seed, std::int64_t windows) {
  if (pairs < 100 || pairs > 500000)
    throw DeckError("record corpus: " + std::to_string(pairs) + " pairs asked; give 100 to 500000");
  if (windows < 1 || windows > kMostRecordWindows)
    throw DeckError("record corpus: documents of " + std::to_string(windows) +
                    " windows asked; give 1 to " + std::to_string(kMostRecordWindows));
  Draws draws(seed);
  MadeCorpus corpus;
  std::set<Record> records;
  std::unordered_set<std::string> sources;
  WordCounts headlines;
  while (std::ssize(corpus.train) < pairs) {
    const Record record = draw_record(draws);
    if (!records.insert(record).second) continue;
    SentencePair pair = training_pair(record, draws);
    if (!fits(pair.source) || !sources.insert(pair.source).second) continue;
    headlines.count(pair.target);
    corpus.train.push_back(std::move(pair));
  }
  const std::int64_t held_out = std::max<std::int64_t>(1, pairs / 20);
  while (std::ssize(corpus.test) < held_out) {
    const Record record = draw_record(draws);
    if (!headlines.know(headline(record, kAllFields)) || !records.insert(record).second) continue;
    SentencePair pair = whole_document(record, windows, draws);
    if (!sources.insert(pair.source).second) continue;
    (std::ssize(corpus.valid) < held_out ? corpus.valid : corpus.test).push_back(std::move(pair));
  }
  return corpus;
}

void write_record_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                         bool force) {
  write_made_corpus(corpus, folder, {"records", "source", "target"}, force);
}

}  // namespace th::data
