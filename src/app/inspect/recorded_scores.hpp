#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace th::app {

/// What the metrics.jsonl of a run says of a step: {"train loss": …, "valid bleu": …}; a NaN where
/// the number was not finite. Without that file, and for lines that are no records, nothing.
[[nodiscard]] std::map<std::string, double> recorded_scores(const std::string& path,
                                                            std::int64_t step);

}  // namespace th::app
