#include "app/decoders/batch_decoder.hpp"

#include <utility>

namespace th::app {

std::optional<Hypotheses> finish_search(model::BatchSearch& search, const Stop& stop) {
  while (!search.done()) {
    if (stop()) return std::nullopt;
    search.step();
  }
  return std::move(search).results();
}

std::optional<std::vector<Hypotheses>> BatchDecoder::translate_all(
    std::span<const Task> tasks, const model::SearchOptions& options, const Stop& stop) {
  std::vector<Hypotheses> all;
  for (const Task& task : tasks) {
    std::optional<Hypotheses> found = translate(task.batch, options, task.sentences, stop);
    if (!found) return std::nullopt;
    all.push_back(std::move(*found));
  }
  return all;
}

std::optional<std::vector<std::vector<double>>> BatchDecoder::score_all(std::span<const Task> tasks,
                                                                        const Stop& stop) {
  std::vector<std::vector<double>> all;
  for (const Task& task : tasks) {
    if (stop()) return std::nullopt;
    all.push_back(score(task.batch));
  }
  return all;
}

}  // namespace th::app
