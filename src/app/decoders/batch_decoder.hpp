#pragma once

#include <optional>
#include <span>
#include <vector>

#include "app/stream/chunk.hpp"
#include "th/model/decoding/decoding.hpp"

namespace th::app {

/// By sentence, best first.
using Hypotheses = std::vector<std::vector<model::Hypothesis>>;

/// Translates batches of ids: the one place that a way of decoding (parameters of one rank,
/// several models, parameters in shards) enters.
class BatchDecoder {
 public:
  virtual ~BatchDecoder() = default;
  /// Makes place for sentences of so many ids, begin and end not counted.
  virtual void make_room(std::int64_t longest) = 0;
  /// As model::translate(), of a batch with one sentence or more; empty where stop() said so
  /// between two layers of a pass. Several threads call it at a time.
  [[nodiscard]] virtual std::optional<Hypotheses> translate(
      const data::Batch& batch, const model::SearchOptions& options,
      std::span<const model::SentenceOptions> sentences, const Stop& stop) = 0;
  /// As model::score_targets(); empty where stop() said so between two layers.
  [[nodiscard]] virtual std::optional<std::vector<double>> score(const data::Batch& batch,
                                                                 const Stop& stop) = 0;

  /// A batch, and what is asked of its sentences; of a batch to score nothing.
  struct Task {
    data::Batch batch;
    std::vector<model::SentenceOptions> sentences;
  };
  /// As many batches at a time as there are threads; empty where stop() said so in between.
  [[nodiscard]] virtual std::optional<std::vector<Hypotheses>> translate_all(
      std::span<const Task> tasks, const model::SearchOptions& options, const Stop& stop);
  /// Batch after batch, each on all threads.
  [[nodiscard]] virtual std::optional<std::vector<std::vector<double>>> score_all(
      std::span<const Task> tasks, const Stop& stop);
};

}  // namespace th::app
