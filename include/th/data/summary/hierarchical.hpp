#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/config/summarization.hpp"
#include "th/data/tokenizer/tokenizer.hpp"

// Summarizes documents that are too long for the model: first overlapping chunks of them, then the
// joined summaries. Nothing here knows the model, ranks or files.
namespace th::data {

/// The pieces in which a document is summarized: the document itself if it has at most
/// window.length ids, otherwise chunks of window.chunk ids, of which the last may have fewer.
/// Document and chunks are words and the end. Two chunks in a row share window.overlap words, and
/// each word is in some chunk.
[[nodiscard]] std::vector<std::vector<std::int32_t>> chunks_of(
    std::span<const std::int32_t> document, const config::SummaryWindow& window);

/// Texts to summarize, as words and the end, and a number for each, by which sampling draws.
struct Sources {
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<std::uint64_t> numbers;
};

/// Returns the summaries of sources of at most SummaryWindow::length ids, in their order; nothing
/// if the work has to stop.
using Summarize = std::function<std::optional<std::vector<std::string>>(const Sources& sources)>;

/// A summary of each document, of any length; "" for a document without ids. The summaries of a
/// document's chunks, joined by spaces and encoded by `source`, are a document again, until one
/// piece is left. Each round is one call of `summarize` with all pieces of all documents; a piece's
/// number is that of its document if the document is within the window, otherwise a hash of that
/// number, the round and the piece's place. If a round makes a document that is above the window
/// shorter by less than a quarter, only its beginning is summarized after that. Returns nothing if
/// `summarize` stopped, and throws what it throws.
[[nodiscard]] std::optional<std::vector<std::string>> summarize_documents(
    Sources documents, const config::SummaryWindow& window, const Tokenizer& source,
    const Summarize& summarize);

}  // namespace th::data
