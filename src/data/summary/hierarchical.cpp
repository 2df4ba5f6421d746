#include "th/data/summary/hierarchical.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {

namespace {

using Ids = std::vector<std::int32_t>;

/// Those that have text, with a space between two.
std::string joined(std::span<const std::string> summaries) {
  std::string text;
  for (const std::string& summary : summaries) {
    if (summary.find_first_not_of(' ') == std::string::npos) continue;
    text += (text.empty() ? "" : " ") + summary;
  }
  return text;
}

/// The document that the summaries of a document of `before` ids make.
Ids next_document(const std::string& summaries, std::int64_t before, std::int64_t window,
                  const Tokenizer& source) {
  Ids words = source.encode(summaries);
  const std::int64_t length = std::ssize(words) + 1;
  const bool shorter = 4 * length <= 3 * before;
  return framed_source(std::move(words), shorter ? kUncut : window);
}

}  // namespace

std::vector<Ids> chunks_of(std::span<const std::int32_t> document,
                           const config::SummaryWindow& window) {
  if (std::ssize(document) <= window.length) return {Ids(document.begin(), document.end())};
  const std::int64_t most = window.chunk - 1;  // words beside the end
  const std::int64_t step = most - window.overlap;
  ensure(window.chunk <= window.length && window.overlap >= 0 && step > 0,
         "chunks_of: chunks that do not come forward");
  const auto words = document.first(document.size() - 1);
  std::vector<Ids> chunks;
  for (std::int64_t begin = 0, end = 0; end < std::ssize(words); begin += step) {
    end = std::min(begin + most, std::ssize(words));
    const auto part =
        words.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    chunks.emplace_back(part.begin(), part.end());
    chunks.back().push_back(kEnd);
  }
  return chunks;
}

std::optional<std::vector<std::string>> summarize_documents(Sources documents,
                                                            const config::SummaryWindow& window,
                                                            const Tokenizer& source,
                                                            const Summarize& summarize) {
  ensure(documents.ids.size() == documents.numbers.size(),
         "summarize_documents: not one number a document");
  std::vector<std::string> texts(documents.ids.size());
  std::vector<std::size_t> open;
  for (std::size_t d = 0; d < texts.size(); ++d)
    if (!documents.ids[d].empty()) open.push_back(d);
  for (std::uint64_t round = 0; !open.empty(); ++round) {
    Sources pieces;
    std::vector<std::size_t> ends;  // of each open document's pieces
    for (const std::size_t d : open) {
      const std::uint64_t number = documents.numbers[d];
      std::vector<Ids> chunks = chunks_of(documents.ids[d], window);
      for (std::size_t c = 0; c < chunks.size(); ++c) {
        const bool whole = round == 0 && chunks.size() == 1;
        pieces.numbers.push_back(whole ? number : hash_pair(hash_pair(number, round + 1), c));
        pieces.ids.push_back(std::move(chunks[c]));
      }
      ends.push_back(pieces.ids.size());
    }
    const std::optional<std::vector<std::string>> summaries = summarize(pieces);
    if (!summaries) return std::nullopt;
    ensure(summaries->size() == pieces.ids.size(), "summarize_documents: not one summary a piece");
    std::vector<std::size_t> longer;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < open.size(); begin = ends[i++]) {
      const std::size_t d = open[i];
      const auto mine = std::span<const std::string>(*summaries).subspan(begin, ends[i] - begin);
      texts[d] = mine.size() == 1 ? mine.front() : joined(mine);
      if (mine.size() == 1 || texts[d].empty()) continue;
      Ids& document = documents.ids[d];
      document = next_document(texts[d], std::ssize(document), window.length, source);
      longer.push_back(d);
    }
    open = std::move(longer);
  }
  return texts;
}

}  // namespace th::data
