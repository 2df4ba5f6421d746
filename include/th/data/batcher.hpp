#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/data/batch.hpp"
#include "th/data/corpus.hpp"

namespace th::data {

/// The sentences of one epoch dealt to steps and slots; every sentence occurs exactly once. The
/// same for every rank count.
struct EpochPlan {
  std::int64_t micro_batches = 0;          ///< slots a step
  std::vector<std::int64_t> order;         ///< sentences in the order of the slots
  std::vector<std::int64_t> slot_offsets;  ///< steps * micro_batches + 1 positions in `order`

  [[nodiscard]] std::int64_t steps() const noexcept {
    return (std::ssize(slot_offsets) - 1) / micro_batches;
  }
  [[nodiscard]] std::span<const std::int64_t> slot(std::int64_t step,
                                                   std::int64_t slot) const noexcept;
};

/// Shuffles all sentences by (seed, epoch) and cuts them into steps of micro_batches slots: of
/// data.batch_size sentences, or of at most data.batch_tokens each, a sentence counted by its
/// longer side. With data.sort_window above 1 the sentences of so many steps are sorted by length
/// first and the steps shuffled after; else each step is a random sample. A step's sentences are
/// dealt to its slots by length, so that slots hold nearly equal work, and sorted within a slot.
/// What fills no step makes a last one. Throws DataError for a corpus smaller than one step or a
/// sentence above batch_tokens.
[[nodiscard]] EpochPlan make_epoch_plan(std::span<const SentenceLength> lengths,
                                        const config::DataSection& data, std::int64_t micro_batches,
                                        std::uint64_t seed, std::int64_t epoch);

/// Packs the sentences into one batch; no sentences: an empty slot.
[[nodiscard]] Batch make_batch(const ParallelCorpus& corpus,
                               std::span<const std::int64_t> sentences);

/// A batch of validation or test text and its place in the global order.
struct EvalBatch {
  std::int64_t number = 0;  ///< global: add sums in this order to be independent of the rank count
  std::vector<std::int64_t> sentences;  ///< their lines in the corpus
  Batch batch;
};

/// All sentences sorted by length in batches of data.batch_size, batch b to rank b mod ranks. Not
/// shuffled; the same at every rank count.
[[nodiscard]] std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus,
                                                       const config::DataSection& data,
                                                       std::int64_t rank, std::int64_t ranks);
/// The same of some of its sentences.
[[nodiscard]] std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus,
                                                       const config::DataSection& data,
                                                       std::int64_t rank, std::int64_t ranks,
                                                       std::span<const std::int64_t> sentences);
/// The number of batches that make_eval_batches deals over all ranks.
[[nodiscard]] std::int64_t eval_batch_count(const ParallelCorpus& corpus,
                                            const config::DataSection& data);

}  // namespace th::data
