#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"

namespace th::config {

/// How documents are cut that are too long for the model. All lengths are in source ids. They
/// include the end, unless it says otherwise.
struct SummaryWindow {
  std::int64_t length = 0;   ///< of the longest document that is summarized at once
  std::int64_t chunk = 0;    ///< of a chunk of a longer one
  std::int64_t overlap = 0;  ///< that two chunks in a row share, the end not counted
};

/// data.max_source_length, summarization.chunk and overlap, with their defaults.
[[nodiscard]] SummaryWindow summary_window(const RunConfig& config);

/// Whether validation and the test set summarize documents above the window chunk by chunk.
[[nodiscard]] bool summarizes_in_chunks(const RunConfig& config);

/// The key's default with run.task = summarization, as a deck writes it; empty: the same as
/// otherwise.
[[nodiscard]] const char* default_of_summarization(const char* key);

}  // namespace th::config
