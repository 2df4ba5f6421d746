#pragma once

#include <memory>
#include <vector>

#include "app/decoders/batch_decoder.hpp"
#include "app/decoders/loaded_model.hpp"
#include "th/model/decoding/ensemble.hpp"

namespace th::app {

/// Decodes with several models of the same vocabularies, by the mean of their probabilities.
class EnsembleDecoder final : public BatchDecoder {
 public:
  /// `models` are loaded, and used as long as this lives.
  explicit EnsembleDecoder(const std::vector<std::unique_ptr<LoadedModel>>& models)
      : models_(models) {}
  void make_room(std::int64_t longest) override;
  [[nodiscard]] std::optional<std::vector<std::vector<model::Hypothesis>>> translate(
      const data::Batch& batch, const model::SearchOptions& options,
      std::span<const model::SentenceOptions> sentences, const Stop& stop) override;
  [[nodiscard]] std::optional<std::vector<double>> score(const data::Batch& batch,
                                                         const Stop& stop) override;

 private:
  const std::vector<std::unique_ptr<LoadedModel>>& models_;
};

}  // namespace th::app
