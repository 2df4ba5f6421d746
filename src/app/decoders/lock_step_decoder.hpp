#pragma once

#include <optional>
#include <span>
#include <vector>

#include "app/decoders/batch_decoder.hpp"
#include "app/decoders/loaded_model.hpp"
#include "th/runtime/transport/control_calls.hpp"

namespace th::app {

/// Decodes with parameters that are sharded over the ranks: of the batches of a chunk, which all
/// ranks have, each takes its share, and all get the results of all. Every call is collective: the
/// ranks pass the same batches.
class LockStepDecoder final : public BatchDecoder {
 public:
  /// `model` has its parameters in shards. Both outlive it.
  LockStepDecoder(LoadedModel& model, runtime::ControlCalls& control)
      : model_(model), control_(control) {}
  void make_room(std::int64_t longest) override { model_.make_room(longest); }
  [[nodiscard]] std::optional<Hypotheses> translate(
      const data::Batch& batch, const model::SearchOptions& options,
      std::span<const model::SentenceOptions> sentences, const Stop& stop) override;
  [[nodiscard]] std::optional<std::vector<double>> score(const data::Batch& batch,
                                                         const Stop& stop) override;
  [[nodiscard]] std::optional<std::vector<Hypotheses>> translate_all(
      std::span<const Task> tasks, const model::SearchOptions& options, const Stop& stop) override;
  [[nodiscard]] std::optional<std::vector<std::vector<double>>> score_all(
      std::span<const Task> tasks, const Stop& stop) override;

 private:
  /// stop() of any rank, on all. Collective.
  [[nodiscard]] bool any_stops(const Stop& stop);
  /// Calls work(number of this rank's batch, or -1) in rounds of a batch a rank; false where it
  /// returned false, on all.
  template <typename Work>
  [[nodiscard]] bool in_rounds(std::size_t count, const Work& work);

  LoadedModel& model_;
  runtime::ControlCalls& control_;
};

}  // namespace th::app
