#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/batch.hpp"
#include "th/data/corpus.hpp"

namespace th::data {

/// Corpora of at most so many pairs are laid out as a whole; larger ones piece by piece, in the
/// same memory whatever their size.
inline constexpr std::int64_t kPlannedWhole = std::int64_t{1} << 21;

/// The sentences of one epoch, or of a piece of it, dealt to steps and slots. The same for every
/// rank count.
struct EpochPlan {
  std::int64_t micro_batches = 0;          ///< slots a step
  std::vector<std::int64_t> order;         ///< sentences in the order of the slots
  std::vector<std::int64_t> slot_offsets;  ///< steps * micro_batches + 1 positions in `order`
  /// Of drawn segmentations, at the places of `order`; empty: the corpus's.
  std::vector<SentenceLength> lengths;

  [[nodiscard]] std::int64_t steps() const noexcept {
    return (std::ssize(slot_offsets) - 1) / micro_batches;
  }
  [[nodiscard]] std::span<const std::int64_t> slot(std::int64_t step,
                                                   std::int64_t slot) const noexcept;
  /// Of the sentences of a slot; empty where `lengths` is.
  [[nodiscard]] std::span<const SentenceLength> slot_lengths(std::int64_t step,
                                                             std::int64_t slot) const noexcept;
};

/// Shuffles all sentences by (seed, epoch) and cuts them into steps of micro_batches slots: of
/// data.batch_size sentences, or of at most data.batch_tokens each, a sentence counted by its
/// longer side. With data.sort_window above 1 the sentences of so many steps are sorted by length
/// first and the steps shuffled after; else each step is a random sample. A step's sentences are
/// dealt to its slots by length, so that slots hold nearly equal work, and sorted within a slot.
/// What fills no step makes a last one. Throws DataError for a corpus smaller than one step or a
/// sentence above batch_tokens.
[[nodiscard]] EpochPlan make_epoch_plan(const Lengths& lengths, const config::DataSection& data,
                                        std::int64_t micro_batches, std::uint64_t seed,
                                        std::int64_t epoch);

/// The same of the sentences of `order`, which are shuffled already and are not checked; `key` is
/// what steps are shuffled by.
[[nodiscard]] EpochPlan plan_in_order(std::vector<std::int64_t> order, const Lengths& lengths,
                                      const config::DataSection& data, std::int64_t micro_batches,
                                      std::uint64_t key);
/// The steps of that plan. Faster than the plan where data.sort_window is at most 1.
[[nodiscard]] std::int64_t steps_in_order(const std::vector<std::int64_t>& order,
                                          const Lengths& lengths, const config::DataSection& data,
                                          std::int64_t micro_batches, std::uint64_t key);
/// Throws the DataErrors of make_epoch_plan.
void require_steps(const Lengths& lengths, const config::DataSection& data,
                   std::int64_t micro_batches);
/// Fisher-Yates on counter-based draws.
void shuffle_sentences(std::vector<std::int64_t>& sentences, std::uint64_t key);

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
/// The same of sources that are in no corpus: `sentences` of a batch are their places in the list,
/// its targets have no ids.
[[nodiscard]] std::vector<EvalBatch> make_source_batches(
    const std::vector<std::vector<std::int32_t>>& sources, const config::DataSection& data,
    std::int64_t rank, std::int64_t ranks);
/// The sentences of the first of them. Of a corpus above kPlannedWhole pairs, of its beginning.
[[nodiscard]] std::vector<std::int64_t> first_eval_sentences(const ParallelCorpus& corpus,
                                                             const config::DataSection& data);
/// The number of batches that make_eval_batches deals over all ranks.
[[nodiscard]] std::int64_t eval_batch_count(const ParallelCorpus& corpus,
                                            const config::DataSection& data);

}  // namespace th::data
