#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "th/base/slot_dealing.hpp"
#include "th/data/batcher.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"
#include "th/runtime/observe/flight_record.hpp"

namespace th::data {

/// Makes the batches of any step. Several threads may call its members at once.
class StepSource {
 public:
  virtual ~StepSource() = default;
  [[nodiscard]] virtual StepBatches make(std::int64_t epoch, std::int64_t step_in_epoch) const = 0;
  /// The micro-batch of any slot of a step, whichever rank computes it.
  [[nodiscard]] virtual Batch make_slot(std::int64_t epoch, std::int64_t step_in_epoch,
                                        std::int64_t slot) const = 0;
  [[nodiscard]] virtual std::int64_t steps(std::int64_t epoch) const = 0;
  enum class SlotsOf { kThisRank, kAllRanks };
  /// The largest shapes of those slots in an epoch; none is within another.
  [[nodiscard]] virtual std::vector<BatchShape> largest_shapes(std::int64_t epoch,
                                                               SlotsOf whose) const = 0;
  /// Deals the slots in another way. One thread calls it, before it asks for any batch.
  virtual void deal(const SlotDealing& dealing) = 0;
  /// Whether steps() of many epochs is so fast that a user does not notice.
  [[nodiscard]] virtual bool counts_quickly() const { return true; }
};

class EpochPairs;
class SampledPairs;

/// One rank's slots of the steps over a corpus. It keeps the plans that were last asked for.
///
/// A corpus above kPlannedWhole pairs is planned in pieces. Its pairs are taken in the order of a
/// Permutation, and each piece of about 2^17 pairs is planned by itself, when one of its steps is
/// asked for. So the plan takes a few MiB, and with data.batch_tokens the last step of each piece
/// is not full.
class CorpusSource final : public StepSource {
 public:
  /// Throws DataError as make_epoch_plan does.
  CorpusSource(const TrainingPairs& training, const config::DataSection& data,
               const SlotDealing& dealing, std::uint64_t seed, std::int64_t rank);
  ~CorpusSource() override;
  [[nodiscard]] StepBatches make(std::int64_t epoch, std::int64_t step_in_epoch) const override;
  [[nodiscard]] Batch make_slot(std::int64_t epoch, std::int64_t step_in_epoch,
                                std::int64_t slot) const override;
  [[nodiscard]] std::int64_t steps(std::int64_t epoch) const override;
  /// For a corpus in pieces, those of the first piece stand for all.
  [[nodiscard]] std::vector<BatchShape> largest_shapes(std::int64_t epoch,
                                                       SlotsOf whose) const override;
  void deal(const SlotDealing& dealing) override { dealing_ = dealing; }
  [[nodiscard]] bool counts_quickly() const override { return pieces_ == 1 && !sampled_; }
  /// How many pairs of an epoch come from each training file, by data.train_weights or
  /// data.train_temperature; empty: every pair comes once.
  [[nodiscard]] std::vector<std::int64_t> shares() const;

 private:
  using Plan = std::shared_ptr<const EpochPlan>;
  struct Place {
    Plan plan;
    std::int64_t step = 0;  ///< of the plan
  };
  [[nodiscard]] Place find(std::int64_t epoch, std::int64_t step) const;
  /// Sentences of a piece in the order in which it is planned.
  [[nodiscard]] std::vector<std::int64_t> order(std::int64_t epoch, std::int64_t piece) const;
  [[nodiscard]] std::uint64_t key(std::int64_t epoch, std::int64_t piece) const;
  // Callers of these hold the mutex.
  [[nodiscard]] Plan plan(std::int64_t epoch, std::int64_t piece) const;
  /// The first step of each piece of an epoch, and behind them the number of its steps.
  [[nodiscard]] const std::vector<std::int64_t>& first_steps(std::int64_t epoch) const;
  [[nodiscard]] std::int64_t count_steps(std::int64_t epoch, std::int64_t piece) const;
  /// The piece's plan, by the lengths of its drawn segmentations.
  [[nodiscard]] EpochPlan plan_sampled(std::int64_t epoch, std::int64_t piece) const;
  [[nodiscard]] BatchShape shape_of(const EpochPlan& plan, std::int64_t step,
                                    std::int64_t slot) const;
  [[nodiscard]] Batch batch_of(std::int64_t epoch, std::span<const std::int64_t> sentences) const;

  std::shared_ptr<const ParallelCorpus> corpus_;
  config::DataSection data_;
  SlotDealing dealing_;
  std::uint64_t seed_;
  std::int64_t rank_;
  std::unique_ptr<const EpochPairs> pairs_;
  std::unique_ptr<const SampledPairs> sampled_;  ///< null: the index's ids
  std::int64_t pieces_ = 1, piece_pairs_ = 0;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<std::int64_t, std::int64_t>, Plan> plans_;  ///< by epoch and piece
  mutable std::map<std::int64_t, std::vector<std::int64_t>> first_steps_;
};

/// The batches of data.synthetic=random_ids: every slot has batch_size sentences of exactly
/// synthetic_length ids each way, drawn from [4, vocab_size).
class SyntheticSource final : public StepSource {
 public:
  /// Throws DeckError unless data.vocab_size is above 4.
  SyntheticSource(const config::DataSection& data, const SlotDealing& dealing, std::uint64_t seed,
                  std::int64_t steps_per_epoch, std::int64_t rank);
  [[nodiscard]] StepBatches make(std::int64_t epoch, std::int64_t step_in_epoch) const override;
  [[nodiscard]] Batch make_slot(std::int64_t epoch, std::int64_t step_in_epoch,
                                std::int64_t slot) const override;
  [[nodiscard]] std::int64_t steps(std::int64_t) const override { return steps_per_epoch_; }
  [[nodiscard]] std::vector<BatchShape> largest_shapes(std::int64_t, SlotsOf) const override {
    return {BatchShape::uniform(data_.batch_size, data_.synthetic_length, data_.synthetic_length)};
  }
  void deal(const SlotDealing& dealing) override { dealing_ = dealing; }

 private:
  config::DataSection data_;
  SlotDealing dealing_;
  std::uint64_t seed_;
  std::int64_t steps_per_epoch_, rank_;
};

/// Makes steps ahead in background threads and hands them out in order, epoch after epoch without
/// end.
class BatchLoader {
 public:
  /// Where it records the time in which it makes each step, under the numbers of the run's steps;
  /// the first step that it hands out is `first_step`. A null record: nowhere.
  struct Notes {
    std::shared_ptr<runtime::FlightRecord> record;
    std::int64_t first_step = 1;
  };
  /// Starts at (epoch, step_in_epoch). With 0 workers next() makes the step itself. At most `ahead`
  /// finished steps wait.
  BatchLoader(std::shared_ptr<const StepSource> source, std::int64_t epoch,
              std::int64_t step_in_epoch, std::int64_t workers, std::int64_t ahead, Notes notes);
  BatchLoader(std::shared_ptr<const StepSource> source, std::int64_t epoch,
              std::int64_t step_in_epoch, std::int64_t workers, std::int64_t ahead = 4)
      : BatchLoader(std::move(source), epoch, step_in_epoch, workers, ahead, Notes()) {}
  /// Stops and joins the threads.
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;
  /// The next step. Rethrows what making it threw. Only one thread may call it.
  [[nodiscard]] StepBatches next();

 private:
  struct Result {
    StepBatches batches;
    std::exception_ptr error;
  };
  /// A step: its place in the corpus, and its number among those that are handed out, from 0.
  struct Place {
    std::int64_t epoch = 0, step_in_epoch = 0, number = 0;
  };
  [[nodiscard]] Result prepare(const Place& place, std::int64_t worker) const;
  void advance();
  void work(std::int64_t worker);
  std::shared_ptr<const StepSource> source_;
  Notes notes_;
  std::int64_t epoch_, step_, ahead_;
  std::int64_t claimed_ = 0, handed_ = 0;
  bool stop_ = false;
  std::mutex mutex_;
  std::condition_variable ready_, room_;
  std::map<std::int64_t, Result> results_;
  std::vector<std::thread> threads_;
};

}  // namespace th::data
