#include "th/train/evaluation.hpp"

#include "th/base/error.hpp"
#include "th/base/exact_sum.hpp"
#include "th/train/agreement.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/train/watch/memory_watch.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <utility>

namespace th::train {

EvaluationBatches::EvaluationBatches(const data::ParallelCorpus& corpus,
                                     const config::DataSection& data, std::int64_t rank,
                                     std::int64_t ranks)
    : corpus_(&corpus),
      count_(data::eval_batch_count(corpus, data)),
      sentences_(corpus.size()),
      batch_size_(data.batch_size) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  mine_ = data::make_eval_batches(corpus, data, rank, ranks);
}

EvaluationBatches::EvaluationBatches(const data::ParallelCorpus& corpus,
                                     const config::DataSection& data, std::int64_t rank,
                                     std::int64_t ranks, std::span<const std::int64_t> sentences)
    : corpus_(&corpus),
      count_((std::ssize(sentences) + data.batch_size - 1) / data.batch_size),
      sentences_(corpus.size()),
      batch_size_(data.batch_size) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  mine_ = data::make_eval_batches(corpus, data, rank, ranks, sentences);
}

EvaluationBatches::EvaluationBatches(const data::Sources& sources, const config::DataSection& data,
                                     std::int64_t rank, std::int64_t ranks)
    : numbers_(sources.numbers),
      count_((std::ssize(sources.ids) + data.batch_size - 1) / data.batch_size),
      sentences_(std::ssize(sources.ids)),
      batch_size_(data.batch_size) {
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

std::vector<model::SentenceOptions> EvaluationBatches::options(const data::EvalBatch& batch) const {
  std::vector<model::SentenceOptions> all;
  for (const std::int64_t sentence : batch.sentences) {
    const std::uint64_t number = corpus_ == nullptr
                                     ? numbers_[static_cast<std::size_t>(sentence)]
                                     : static_cast<std::uint64_t>(corpus_->line_of(sentence));
    all.push_back({.number = number, .prefix = {}});
  }
  return all;
}

std::optional<double> evaluate_loss(model::Transformer& model, zero::ZeroEngine& engine,
                                    runtime::ControlCalls& control,
                                    const EvaluationBatches& batches, const StopCheck& stop) {
  constexpr std::int64_t kRoundsBetweenLooks = 16;
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  const std::int64_t ranks = control.size();
  const std::vector<data::EvalBatch>& mine = batches.all();
  const std::int64_t count = batches.count();
  const std::int64_t rounds = (count + ranks - 1) / ranks;
  const bool on_host = model.device().memory == runtime::DeviceMemory::kHost;
  ExactSum sum;
  double tokens = 0;
  for (std::int64_t r = 0; r < rounds; ++r) {
    if (r % kRoundsBetweenLooks == 0) {
      if (stop && stop()) return std::nullopt;
      engine.units().begin_evaluation(std::min(kRoundsBetweenLooks, rounds - r));
    }
    const auto at = static_cast<std::size_t>(r);
    if (at < mine.size()) {
      ensure(mine[at].number == r * ranks + control.rank(),
             "evaluation batches are not dealt in turn");
      const data::Batch& batch = mine[at].batch;
      if (on_host) {
        for (const double loss : model.sentence_losses(engine.units(), batch)) sum.add(loss);
      } else {
        sum.add(model.evaluate(engine.units(), batch).loss_sum);
      }
      tokens += static_cast<double>(batch.target_tokens);
    } else {
      model.idle(engine.units(), model::IdlePass::kForward);
    }
  }
  const ExactSum::Parts parts = sum.parts();
  std::array<double, 4> all{parts[0], parts[1], parts[2], tokens};
  control.sum_in_rank_order(all);
  return ExactSum::value({all[0], all[1], all[2]}) / all[3];
}

namespace {

using Results = LockStep::Results;

/// "number<TAB>text<LF>" of a batch's best translations.
std::string lines_of(const data::EvalBatch& batch, const Results& results,
                     const data::Tokenizer& target) {
  std::string lines;
  for (std::size_t i = 0; i < results.size(); ++i)
    lines += std::to_string(batch.sentences[i]) + "\t" + target.decode(results[i][0].ids) + "\n";
  return lines;
}

/// Sentences of a batch from `first` on, at most `count`, without their targets.
data::Batch sources_of(const data::Batch& batch, std::int64_t first, std::int64_t count) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  data::Batch part;
  auto source = batch.source.begin();
  for (std::int64_t b = 0; b < std::min(first + count, batch.sentences); ++b) {
    const auto end = source + batch.source_lengths[static_cast<std::size_t>(b)];
    if (b >= first) part.append(std::vector<std::int32_t>(source, end), {});
    source = end;
  }
  return part;
}

/// The translations of this rank's batch of a round, null: none, `most` sentences at a time; of one
/// of `size` sentences on any rank. Collective.
std::optional<Results> translate_round(LockStep& together, const data::EvalBatch* batch,
                                       std::span<const model::SentenceOptions> sentences,
                                       std::int64_t size, std::int64_t most) {
  if (most == 0 || most >= size)
    return together.translate(batch == nullptr ? nullptr : &batch->batch, sentences);
  Results all;
  for (std::int64_t first = 0; first < size; first += most) {
    const data::Batch part =
        batch == nullptr ? data::Batch() : sources_of(batch->batch, first, most);
    std::optional<Results> found = together.translate(
        &part, part.sentences == 0 ? sentences.first(0)
                                   : sentences.subspan(static_cast<std::size_t>(first),
                                                       static_cast<std::size_t>(part.sentences)));
    if (!found) return std::nullopt;
    std::move(found->begin(), found->end(), std::back_inserter(all));
  }
  return all;
}

/// Puts every rank's lines into their places. Collective.
std::vector<std::string> by_sentence(runtime::ControlCalls& control, const std::string& lines,
                                     std::int64_t sentences) {
  std::vector<std::string> result(static_cast<std::size_t>(sentences));
  for (const std::string& text : control.gather_texts(lines)) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t tab = text.find('\t', at);
      const std::size_t end = text.find('\n', tab);
      result.at(std::stoul(text.substr(at, tab - at))) = text.substr(tab + 1, end - tab - 1);
      at = end + 1;
    }
  }
  return result;
}

}  // namespace

std::optional<std::vector<std::string>> translate_corpus(model::Transformer& model,
                                                         zero::ZeroEngine& engine,
                                                         runtime::ControlCalls& control,
                                                         const EvaluationBatches& batches,
                                                         const CorpusDecoding& decoding) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  const bool sharded = decoding.sharded == config::Sharded::kOn;
  const std::unique_ptr<zero::DecodingSource> units =
      sharded ? engine.units().decoding_source(model) : nullptr;
  const std::unique_ptr<model::ParameterSource> whole =
      sharded ? nullptr : engine.units().gather_all(model);
  std::string lines;  // of this rank's sentences
  // The ranks meet after each round: nobody waits for more than a batch, and an error is told at
  // once.
  for (std::size_t round = 0;
       std::cmp_less(round * static_cast<std::size_t>(control.size()), batches.count()); ++round) {
    const data::EvalBatch* const batch =
        round < batches.all().size() ? &batches.all()[round] : nullptr;
    const auto sentences =
        batch == nullptr ? std::vector<model::SentenceOptions>{} : batches.options(*batch);
    Results results;
    if (sharded) {
      LockStep together(model, *units, control, decoding.options, decoding.stop);
      std::optional<Results> found =
          translate_round(together, batch, sentences, batches.batch_size(), decoding.together);
      if (!found) return std::nullopt;
      results = std::move(*found);
    } else if (decoding.stop && decoding.stop()) {
      return std::nullopt;
    }
    run_agreed(control, [&] {
      if (batch == nullptr) return;
      if (!sharded)
        results = model::translate(model, *whole, batch->batch, decoding.options, sentences);
      lines += lines_of(*batch, results, decoding.target);
    });
  }
  return by_sentence(control, lines, batches.sentences());
}

void with_decoding_parameters(const config::RunConfig& config, zero::ZeroEngine& engine,
                              const std::function<void()>& body) {
  const bool average = config.decode.parameters == config::DecodeParameters::kEma;
  if (average) engine.states().swap_average();
  body();
  if (average) engine.states().swap_average();
}

}  // namespace th::train
