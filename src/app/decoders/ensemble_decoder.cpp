#include "app/decoders/ensemble_decoder.hpp"

#include <algorithm>
#include <utility>

namespace th::app {

void EnsembleDecoder::make_room(std::int64_t longest) {
  for (const auto& model : models_) model->make_room(longest);
}

std::vector<model::EnsembleMember> EnsembleDecoder::members() const {
  std::vector<model::EnsembleMember> all;
  for (const auto& model : models_) all.push_back({model->model(), model->parameters()});
  return all;
}

std::optional<std::vector<std::vector<model::Hypothesis>>> EnsembleDecoder::translate(
    const data::Batch& batch, const model::SearchOptions& options,
    std::span<const model::SentenceOptions> sentences, const Stop& stop) {
  const std::vector<model::EnsembleMember> models = members();
  std::int64_t longest = options.max_length;
  for (const auto& member : models) longest = std::min(longest, member.model.longest() - 1);
  model::BatchSearch search(model::make_ensemble(models, batch, options.beam, longest + 1,
                                                 model::candidates_of(sentences)),
                            batch.sentences, longest, options, sentences);
  return finish_search(search, stop);
}

std::vector<double> EnsembleDecoder::score(const data::Batch& batch) {
  return model::score_targets(members(), batch);
}

}  // namespace th::app
