#pragma once

#include <string>
#include <utility>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// The metric's name in decks, logs and records: "loss", "bleu", …
[[nodiscard]] const char* name_of(Metric metric);
/// The metrics that this run's validation computes: valid.metrics, and the script's number if there
/// is a script.
[[nodiscard]] std::vector<Metric> metrics_of(const ValidSection& valid);
/// The metric by which checkpoints are compared.
[[nodiscard]] Metric best_metric(const ValidSection& valid);
[[nodiscard]] Better better_of(Metric metric, const ValidSection& valid);
/// The keys on which the values of valid.best_metric depend beside the parameters and the text,
/// with their values as a deck writes them, valid.best_metric first. Values of two runs can be
/// compared if these are the same.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> metric_definition(
    const RunConfig& config);
/// Whether the metric is computed from translations.
[[nodiscard]] bool needs_translations(Metric metric);
/// Whether validation translates: for a metric, a script or samples.
[[nodiscard]] bool translates_in_validation(const RunConfig& config);

}  // namespace th::config
