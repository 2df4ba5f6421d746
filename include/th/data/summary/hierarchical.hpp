#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/config/summarization.hpp"
#include "th/data/tokenizer/tokenizer.hpp"

// Summaries of documents that the model can't take as a whole: of overlapping chunks, and then of
// the summaries. Nothing here knows the model, ranks or files.
namespace th::data {

/// The pieces that a document is summarized in: itself where it has at most window.length ids, else
/// chunks of window.chunk ids, of which the last may have fewer. `document`: words and the end; so
/// are the chunks. Two chunks in a row share window.overlap words, and each word is in one.
[[nodiscard]] std::vector<std::vector<std::int32_t>> chunks_of(
    std::span<const std::int32_t> document, const config::SummaryWindow& window);

/// Texts to summarize: words and the end, and for each a number, by which draws are made where the
/// model is sampled.
struct Sources {
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<std::uint64_t> numbers;
};

/// The summaries of sources of at most SummaryWindow::length ids, in their order; empty where the
/// work has to stop.
using Summarize = std::function<std::optional<std::vector<std::string>>(const Sources& sources)>;

/// A summary of each document, which has any number of ids; "" for one without ids. The summaries
/// of a document's chunks, joined by spaces and encoded by `source`, are a document again, until
/// one piece is left. Each round is one call of `summarize` with all pieces of all documents; a
/// piece's number is its document's where that is within the window, else a hash of it, the round
/// and the piece's place. Where a round makes a document that is above the window shorter by less
/// than a quarter, its beginning alone is summarized after that. Empty where `summarize` stopped;
/// throws what it throws.
[[nodiscard]] std::optional<std::vector<std::string>> summarize_documents(
    Sources documents, const config::SummaryWindow& window, const Tokenizer& source,
    const Summarize& summarize);

}  // namespace th::data
