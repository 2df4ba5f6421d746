#pragma once

#include <string>
#include <utility>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// "loss", "bleu", …: as decks, logs and records write it.
[[nodiscard]] const char* name_of(Metric metric);
/// What this run's validation computes: valid.metrics, and the script's number where there is one.
[[nodiscard]] std::vector<Metric> metrics_of(const ValidSection& valid);
/// By which of them checkpoints are compared.
[[nodiscard]] Metric best_metric(const ValidSection& valid);
[[nodiscard]] Better better_of(Metric metric, const ValidSection& valid);
/// What the values of valid.best_metric depend on beside the parameters and the text: keys and
/// their values as a deck has them, valid.best_metric first. Values of two runs can be compared
/// where this is the same.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> metric_definition(
    const RunConfig& config);
/// Whether a metric is computed of translations.
[[nodiscard]] bool needs_translations(Metric metric);
/// Whether validation translates: for a metric, a script or samples.
[[nodiscard]] bool translates_in_validation(const RunConfig& config);

}  // namespace th::config
