#include "app/decoders/lock_step_decoder.hpp"

#include "app/stream/byte_stream.hpp"
#include "th/train/sharded_decoding.hpp"

#include <string>
#include <utility>

namespace th::app {

namespace {

void put_hypotheses(std::string& bytes, const Hypotheses& results) {
  for (const std::vector<model::Hypothesis>& sentence : results) {
    put(bytes, std::int64_t{std::ssize(sentence)});
    for (const model::Hypothesis& hypothesis : sentence) {
      put(bytes, hypothesis.log_prob);
      put(bytes, hypothesis.score);
      put(bytes, std::int64_t{std::ssize(hypothesis.ids)});
      for (const std::int32_t id : hypothesis.ids) put(bytes, id);
    }
  }
}

Hypotheses take_hypotheses(Unpacking& from, std::int64_t sentences) {
  Hypotheses results(static_cast<std::size_t>(sentences));
  for (std::vector<model::Hypothesis>& sentence : results) {
    sentence.resize(static_cast<std::size_t>(from.number<std::int64_t>()));
    for (model::Hypothesis& hypothesis : sentence) {
      hypothesis.log_prob = from.number<double>();
      hypothesis.score = from.number<double>();
      hypothesis.ids.resize(static_cast<std::size_t>(from.number<std::int64_t>()));
      for (std::int32_t& id : hypothesis.ids) id = from.number<std::int32_t>();
    }
  }
  return results;
}

}  // namespace

bool LockStepDecoder::any_stops(const Stop& stop) { return control_.maximum(stop() ? 1 : 0) != 0; }

template <typename Work>
bool LockStepDecoder::in_rounds(std::size_t count, const Work& work) {
  const auto ranks = static_cast<std::size_t>(control_.size());
  for (std::size_t first = 0; first < count; first += ranks) {
    const std::size_t mine = first + static_cast<std::size_t>(control_.rank());
    if (!work(mine < count ? static_cast<std::int64_t>(mine) : -1)) return false;
  }
  return true;
}

std::optional<std::vector<Hypotheses>> LockStepDecoder::translate_all(
    std::span<const Task> tasks, const model::SearchOptions& options, const Stop& stop) {
  train::LockStep together(model_.model(), model_.sharded(), control_, options,
                           [&] { return any_stops(stop); });
  std::string mine;
  const bool done = in_rounds(tasks.size(), [&](std::int64_t number) {
    const Task* const task = number < 0 ? nullptr : &tasks[static_cast<std::size_t>(number)];
    const std::optional<Hypotheses> found = task == nullptr
                                                ? together.translate(nullptr)
                                                : together.translate(&task->batch, task->sentences);
    if (found) put_hypotheses(mine, *found);
    return found.has_value();
  });
  if (!done) return std::nullopt;
  const std::vector<std::string> texts = control_.gather_texts(mine);
  std::vector<Unpacking> from(texts.begin(), texts.end());
  std::vector<Hypotheses> all;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::size_t rank = i % texts.size();
    all.push_back(take_hypotheses(from[rank], tasks[i].batch.sentences));
  }
  return all;
}

std::optional<std::vector<std::vector<double>>> LockStepDecoder::score_all(
    std::span<const Task> tasks, const Stop& stop) {
  train::LockStep together(model_.model(), model_.sharded(), control_, {}, {});
  std::string mine;
  const bool done = in_rounds(tasks.size(), [&](std::int64_t number) {
    if (any_stops(stop)) return false;
    const data::Batch* const batch =
        number < 0 ? nullptr : &tasks[static_cast<std::size_t>(number)].batch;
    for (const double score : together.score(model_.model(), batch)) put(mine, score);
    return true;
  });
  if (!done) return std::nullopt;
  const std::vector<std::string> texts = control_.gather_texts(mine);
  std::vector<Unpacking> from(texts.begin(), texts.end());
  std::vector<std::vector<double>> all;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const std::size_t rank = i % texts.size();
    std::vector<double>& scores = all.emplace_back();
    for (std::int64_t s = 0; s < tasks[i].batch.sentences; ++s)
      scores.push_back(from[rank].number<double>());
  }
  return all;
}

std::optional<Hypotheses> LockStepDecoder::translate(
    const data::Batch& batch, const model::SearchOptions& options,
    std::span<const model::SentenceOptions> sentences, const Stop& stop) {
  const std::vector<Task> one{{batch, {sentences.begin(), sentences.end()}}};
  auto all = translate_all(one, options, stop);
  if (!all) return std::nullopt;
  return std::move(all->front());
}

std::optional<std::vector<double>> LockStepDecoder::score(const data::Batch& batch,
                                                          const Stop& stop) {
  const std::vector<Task> one{{batch, {}}};
  auto all = score_all(one, stop);
  if (!all) return std::nullopt;
  return std::move(all->front());
}

}  // namespace th::app
