#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/batch.hpp"
#include "th/data/corpus.hpp"

namespace th::data {

/// Steps of a corpus of at most so many pairs are planned all at once. Those of a larger one are
/// planned piece by piece, in the same memory whatever its size.
inline constexpr std::int64_t kPlannedWhole = std::int64_t{1} << 21;

/// The sentences of one epoch, or of a piece of it, dealt to steps and slots. The plan is the same
/// for every rank count.
struct EpochPlan {
  std::int64_t micro_batches = 0;          ///< slots a step
  std::vector<std::int64_t> order;         ///< sentences in the order of the slots
  std::vector<std::int64_t> slot_offsets;  ///< steps * micro_batches + 1 positions in `order`
  /// Lengths of drawn segmentations, in the order of `order`; empty: those of the corpus hold.
  std::vector<SentenceLength> lengths;

  [[nodiscard]] std::int64_t steps() const noexcept {
    return (std::ssize(slot_offsets) - 1) / micro_batches;
  }
  [[nodiscard]] std::span<const std::int64_t> slot(std::int64_t step,
                                                   std::int64_t slot) const noexcept;
  /// The lengths of a slot's sentences; empty if `lengths` is.
  [[nodiscard]] std::span<const SentenceLength> slot_lengths(std::int64_t step,
                                                             std::int64_t slot) const noexcept;
};

/// Shuffles all sentences by (seed, epoch) and cuts them into steps of micro_batches slots: of
/// data.batch_size sentences, or of at most data.batch_tokens tokens, where a sentence counts by
/// its longer side. With data.sort_window above 1 the sentences of so many steps are first sorted
/// by length, and then the steps are shuffled; otherwise each step is a random sample. A step's
/// sentences are dealt to its slots by length, so that slots hold nearly equal work, and sorted
/// within a slot. Sentences that do not fill a step make a last, smaller one. Throws DataError for
/// a corpus smaller than one step or a sentence above batch_tokens.
[[nodiscard]] EpochPlan make_epoch_plan(const Lengths& lengths, const config::DataSection& data,
                                        std::int64_t micro_batches, std::uint64_t seed,
                                        std::int64_t epoch);

/// The same for the sentences of `order`, which are shuffled already and are not checked. `key` is
/// the key by which steps are shuffled.
[[nodiscard]] EpochPlan plan_in_order(std::vector<std::int64_t> order, const Lengths& lengths,
                                      const config::DataSection& data, std::int64_t micro_batches,
                                      std::uint64_t key);
/// The number of steps of that plan. Faster than the plan if data.sort_window is at most 1.
[[nodiscard]] std::int64_t steps_in_order(const std::vector<std::int64_t>& order,
                                          const Lengths& lengths, const config::DataSection& data,
                                          std::int64_t micro_batches, std::uint64_t key);
/// Throws the same DataErrors as make_epoch_plan.
void require_steps(const Lengths& lengths, const config::DataSection& data,
                   std::int64_t micro_batches);
/// Fisher-Yates on counter-based draws.
void shuffle_sentences(std::vector<std::int64_t>& sentences, std::uint64_t key);

/// Packs the sentences into one batch; no sentences: an empty slot.
[[nodiscard]] Batch make_batch(const ParallelCorpus& corpus,
                               std::span<const std::int64_t> sentences);

/// A batch of validation or test text and its number in the order over all ranks.
struct EvalBatch {
  std::int64_t number = 0;  ///< over all ranks: sums in this order do not depend on the rank count
  std::vector<std::int64_t> sentences;  ///< their lines in the corpus
  Batch batch;
};

/// All sentences sorted by length in batches of data.batch_size, batch b to rank b mod ranks. Not
/// shuffled; the same at every rank count.
[[nodiscard]] std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus,
                                                       const config::DataSection& data,
                                                       std::int64_t rank, std::int64_t ranks);
/// The same for some of its sentences.
[[nodiscard]] std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus,
                                                       const config::DataSection& data,
                                                       std::int64_t rank, std::int64_t ranks,
                                                       std::span<const std::int64_t> sentences);
/// The same for sources that are in no corpus. A batch's `sentences` are indexes of `sources`, and
/// its targets have no ids.
[[nodiscard]] std::vector<EvalBatch> make_source_batches(
    const std::vector<std::vector<std::int32_t>>& sources, const config::DataSection& data,
    std::int64_t rank, std::int64_t ranks);
/// The sentences of the first batch that make_eval_batches makes; from the beginning of a corpus
/// above kPlannedWhole pairs.
[[nodiscard]] std::vector<std::int64_t> first_eval_sentences(const ParallelCorpus& corpus,
                                                             const config::DataSection& data);
/// The number of batches that make_eval_batches deals over all ranks.
[[nodiscard]] std::int64_t eval_batch_count(const ParallelCorpus& corpus,
                                            const config::DataSection& data);

}  // namespace th::data
