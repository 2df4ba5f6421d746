#pragma once

#include <cstdint>
#include <filesystem>

#include "th/data/made/made_corpus.hpp"

// Documents about shipments, and their headlines: a corpus for run.task = summarization
// (docs/summarization.md).
namespace th::data {

/// Words of a document of one window: with its end, the 64 ids of inputs/records.in.
inline constexpr std::int64_t kRecordWindow = 63;
inline constexpr std::int64_t kMostRecordWindows = 8;

/// Makes `pairs` training pairs and max(1, pairs / 20) pairs each for validation and test.
///
/// A record has five fields: amount, product, buyer, place and year. A headline has the record's
/// fields in this order, "340 bales of linen for otto brandt at ardenne in 1887"; a document has a
/// sentence for each in a drawn order that is another, in drawn wordings, and other sentences
/// between them, some of which have values of their own.
///
/// Validation and test: documents of `windows` windows, the fields spread evenly over them, with
/// their whole headline. Training: half of them the same in one window; a quarter windows cut out
/// of documents of two to eight, with a headline of the fields whose sentences are whole in them
/// ("no news" where there are none); a quarter the headlines of all windows of such a document,
/// joined. So a summary of summaries is a document that training has.
///
/// Each pair is of a record of its own. The same arguments give the same corpus on every machine;
/// the training part is the same for every `windows`. Every word of a held-out headline occurs at
/// least twice in those of training. Throws DeckError unless 100 <= pairs <= 500000 and 1 <=
/// windows
/// <= kMostRecordWindows.
[[nodiscard]] MadeCorpus make_record_corpus(std::int64_t pairs, std::uint64_t seed,
                                            std::int64_t windows);

/// Writes records.{train,valid,test}.{source,target} below `folder` (made_corpus.hpp).
void write_record_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                         bool force = false);

}  // namespace th::data
