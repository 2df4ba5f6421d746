#pragma once

#include <cstdint>
#include <filesystem>

#include "th/data/made/made_corpus.hpp"

// Documents about shipments, and their headlines: a corpus for run.task = summarization
// (docs/summarization.md).
namespace th::data {

/// Words of a document of one window; with its end it has the 64 ids of inputs/records.in.
inline constexpr std::int64_t kRecordWindow = 63;
inline constexpr std::int64_t kMostRecordWindows = 8;

/// Makes `pairs` training pairs and max(1, pairs / 20) pairs each for validation and test.
///
/// A record has five fields: amount, product, buyer, place and year. A headline has the record's
/// fields in this order, "340 bales of linen for otto brandt at ardenne in 1887"; a document has a
/// sentence for each field, in drawn wordings and in a drawn order that is never this one. Between
/// them are other sentences, some of which have values of their own.
///
/// Validation and test have documents of `windows` windows, with the fields spread evenly over
/// them, and their whole headline. Half of the training documents are like these, in one window. A
/// quarter are windows cut out of documents of two to eight windows; the headline has the fields
/// whose sentences are whole in the window ("no news" if there are none). The last quarter are the
/// headlines of all windows of such a document, joined. So training has documents that are made of
/// summaries.
///
/// Each pair has a record of its own. The same arguments give the same corpus on every machine;
/// the training part is the same for every `windows`. Every word of a held-out headline occurs at
/// least twice in those of training. Throws DeckError unless 100 <= pairs <= 500000 and 1 <=
/// windows
/// <= kMostRecordWindows.
[[nodiscard]] MadeCorpus make_record_corpus(std::int64_t pairs, std::uint64_t seed,
                                            std::int64_t windows);

/// Writes records.{train,valid,test}.{source,target} into `folder`, as write_made_corpus() does.
void write_record_corpus(const MadeCorpus& corpus, const std::filesystem::path& folder,
                         bool force = false);

}  // namespace th::data
