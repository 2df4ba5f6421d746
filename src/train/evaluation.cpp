#include "th/train/evaluation.hpp"

#include "th/base/error.hpp"
#include "th/train/agreement.hpp"
#include "th/train/memory_watch.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace th::train {

EvaluationBatches::EvaluationBatches(const data::ParallelCorpus& corpus,
                                     const config::DataSection& data, std::int64_t rank,
                                     std::int64_t ranks)
    : count_(data::eval_batch_count(corpus, data)), sentences_(corpus.size()) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  mine_ = data::make_eval_batches(corpus, data, rank, ranks);
}

EvaluationBatches::EvaluationBatches(const data::ParallelCorpus& corpus,
                                     const config::DataSection& data, std::int64_t rank,
                                     std::int64_t ranks, std::span<const std::int64_t> sentences)
    : count_((std::ssize(sentences) + data.batch_size - 1) / data.batch_size),
      sentences_(corpus.size()) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  mine_ = data::make_eval_batches(corpus, data, rank, ranks, sentences);
}

EvaluationBatches::EvaluationBatches(const data::Sources& sources, const config::DataSection& data,
                                     std::int64_t rank, std::int64_t ranks)
    : count_((std::ssize(sources.ids) + data.batch_size - 1) / data.batch_size),
      sentences_(std::ssize(sources.ids)) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  mine_ = data::make_source_batches(sources.ids, data, rank, ranks);
}

std::vector<zero::BatchShape> EvaluationBatches::shapes() const {
  std::vector<zero::BatchShape> shapes;
  for (const data::EvalBatch& batch : mine_) shapes.push_back(shape_of(batch.batch));
  return shapes;
}

std::int64_t EvaluationBatches::bytes() const {
  std::int64_t sum = 0;
  for (const data::EvalBatch& batch : mine_) sum += ledger_bytes(batch.batch);
  return sum;
}

std::optional<double> evaluate_loss(model::Transformer& model, zero::ZeroEngine& engine,
                                    runtime::Collectives& collectives,
                                    const EvaluationBatches& batches, const StopCheck& stop) {
  constexpr std::int64_t kRoundsBetweenLooks = 16;
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  const std::int64_t ranks = collectives.size();
  const std::vector<data::EvalBatch>& mine = batches.all();
  const std::int64_t count = batches.count();
  const std::int64_t rounds = (count + ranks - 1) / ranks;
  std::vector<double> sums(static_cast<std::size_t>(rounds), 0.0),
      all(sums.size() * static_cast<std::size_t>(ranks));
  double tokens = 0;
  for (std::int64_t r = 0; r < rounds; ++r) {
    if (r % kRoundsBetweenLooks == 0) {
      if (stop && stop()) return std::nullopt;
      engine.begin_evaluation(std::min(kRoundsBetweenLooks, rounds - r));
    }
    const auto at = static_cast<std::size_t>(r);
    if (at < mine.size()) {
      ensure(mine[at].number == r * ranks + collectives.rank(),
             "evaluation batches are not dealt in turn");
      const model::LossSum sum = model.evaluate(engine, mine[at].batch);
      sums[at] = sum.loss_sum;
      tokens += static_cast<double>(sum.tokens);
    } else {
      model.idle_forward(engine);
    }
  }
  collectives.all_gather_doubles(sums, all);
  double total = 0;
  for (std::int64_t b = 0; b < count; ++b)
    total += all[static_cast<std::size_t>(b % ranks * rounds + b / ranks)];
  std::array<double, 1> token_sum{tokens};
  collectives.sum_in_rank_order(token_sum);
  return total / token_sum[0];
}

std::optional<std::vector<std::string>> translate_corpus(model::Transformer& model,
                                                         zero::ZeroEngine& engine,
                                                         runtime::Collectives& collectives,
                                                         const EvaluationBatches& batches,
                                                         const CorpusDecoding& decoding) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  const auto source = engine.gather_all(model);
  std::string lines;  // "number<TAB>text<LF>" of this rank's sentences
  // The ranks meet after each round: nobody waits for more than a batch, and an error is told at
  // once.
  for (std::size_t round = 0;
       std::cmp_less(round * static_cast<std::size_t>(collectives.size()), batches.count());
       ++round) {
    if (decoding.stop && decoding.stop()) return std::nullopt;
    run_agreed(collectives, [&] {
      if (round >= batches.all().size()) return;
      const data::EvalBatch& batch = batches.all()[round];
      const auto outputs = model::translate(model, *source, batch.batch, decoding.options);
      for (std::size_t i = 0; i < outputs.size(); ++i)
        lines += std::to_string(batch.sentences[i]) + "\t" +
                 decoding.target.decode(outputs[i][0].ids) + "\n";
    });
  }
  std::vector<std::string> result(static_cast<std::size_t>(batches.sentences()));
  for (const std::string& text : collectives.gather_texts(lines)) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t tab = text.find('\t', at);
      const std::size_t end = text.find('\n', tab);
      result.at(std::stoul(text.substr(at, tab - at))) = text.substr(tab + 1, end - tab - 1);
      at = end + 1;
    }
  }
  return result;
}

void with_decoding_parameters(const config::RunConfig& config, zero::ZeroEngine& engine,
                              const std::function<void()>& body) {
  const bool average = config.decode.parameters == config::DecodeParameters::kEma;
  if (average) engine.swap_average();
  body();
  if (average) engine.swap_average();
}

}  // namespace th::train
