#include "app/translate/chunk_translator.hpp"
#include "th/data/summary/hierarchical.hpp"
#include "th/data/text.hpp"

#include <utility>

// --hierarchical: the lines of a chunk are documents.
namespace th::app {

std::optional<ChunkResult> ChunkTranslator::summarize(const Chunk& chunk, const Stop& stop) {
  const data::TokenizerPair& tokenizers = model_.tokenizers();
  ChunkResult result;
  result.number = chunk.number;
  data::Sources documents;
  for (const InputLine& line : chunk.lines) {
    documents.numbers.push_back(static_cast<std::uint64_t>(chunk.first_line) +
                                documents.numbers.size());
    const bool empty = !line.fault.empty() || data::is_white(line.text);
    documents.ids.push_back(
        empty ? Ids() : data::encode_source(*tokenizers.source, line.text, data::kUncut));
    result.sentences += empty ? 0 : 1;
    result.source_tokens += empty ? 0 : std::ssize(documents.ids.back()) - 1;
  }
  const auto summarize = [&](const data::Sources& sources) {
    std::vector<model::SentenceOptions> sentences;
    for (const std::uint64_t number : sources.numbers)
      sentences.push_back({.number = number, .prefix = {}});
    const auto hypotheses = decode(sources.ids, sentences, plan_.options, stop);
    if (!hypotheses) return std::optional<std::vector<std::string>>();
    std::vector<std::string> texts;
    for (const std::vector<model::Hypothesis>& best : *hypotheses) {
      result.target_tokens += std::ssize(best.at(0).ids);
      texts.push_back(tokenizers.target->decode(best.at(0).ids));
    }
    return std::optional(std::move(texts));
  };
  const auto texts =
      data::summarize_documents(std::move(documents), *plan_.window, *tokenizers.source, summarize);
  if (!texts) return std::nullopt;
  for (const std::string& text : *texts) result.text += text + "\n";
  return result;
}

}  // namespace th::app
