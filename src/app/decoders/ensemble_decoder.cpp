#include "app/decoders/ensemble_decoder.hpp"

#include "th/model/parameters/stoppable_source.hpp"

#include <algorithm>
#include <deque>
#include <utility>

namespace th::app {

namespace {

/// The models of an ensemble, whose work can be given up.
struct StoppableMembers {
  StoppableMembers(const std::vector<std::unique_ptr<LoadedModel>>& models, const Stop& stop) {
    for (const auto& model : models)
      members.push_back({model->model(), sources.emplace_back(model->parameters(), stop)});
  }
  std::deque<model::StoppableSource> sources;
  std::vector<model::EnsembleMember> members;
};

}  // namespace

void EnsembleDecoder::make_room(std::int64_t longest) {
  for (const auto& model : models_) model->make_room(longest);
}

std::optional<std::vector<std::vector<model::Hypothesis>>> EnsembleDecoder::translate(
    const data::Batch& batch, const model::SearchOptions& options,
    std::span<const model::SentenceOptions> sentences, const Stop& stop) {
  const StoppableMembers stoppable(models_, stop);
  std::int64_t longest = options.max_length;
  for (const auto& member : stoppable.members)
    longest = std::min(longest, member.model.longest() - 1);
  return model::unless_given_up([&] {
    model::BatchSearch search(model::make_ensemble(stoppable.members, batch, options.beam,
                                                   longest + 1, model::candidates_of(sentences)),
                              batch.sentences, longest, options, sentences);
    while (!search.done()) search.step();
    return std::move(search).results();
  });
}

std::optional<std::vector<double>> EnsembleDecoder::score(const data::Batch& batch,
                                                          const Stop& stop) {
  const StoppableMembers stoppable(models_, stop);
  return model::unless_given_up([&] { return model::score_targets(stoppable.members, batch); });
}

}  // namespace th::app
