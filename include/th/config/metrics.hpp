#pragma once

#include <string>
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
/// Whether a metric is computed of translations.
[[nodiscard]] bool needs_translations(Metric metric);
/// Whether validation translates: for a metric, a script or samples.
[[nodiscard]] bool translates_in_validation(const RunConfig& config);

}  // namespace th::config
