#include "th/data/loader.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

namespace th::data {

CorpusSource::CorpusSource(std::shared_ptr<const ParallelCorpus> corpus,
                           const config::DataSection& data, std::int64_t micro_batches,
                           std::uint64_t seed, std::int64_t rank, std::int64_t ranks)
    : corpus_(std::move(corpus)),
      data_(data),
      micro_batches_(micro_batches),
      seed_(seed),
      rank_(rank),
      ranks_(ranks),
      lengths_(corpus_->lengths()) {
  static_cast<void>(plan(0));
}

std::shared_ptr<const EpochPlan> CorpusSource::plan(std::int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  auto& found = plans_[epoch];
  if (!found)
    found = std::make_shared<const EpochPlan>(
        make_epoch_plan(lengths_, data_, micro_batches_, seed_, epoch));
  const std::shared_ptr<const EpochPlan> result = found;
  while (plans_.size() > 2)
    plans_.erase(plans_.begin()->first == epoch ? std::prev(plans_.end()) : plans_.begin());
  return result;
}

std::int64_t CorpusSource::steps(std::int64_t epoch) const { return plan(epoch)->steps(); }

std::vector<BatchShape> CorpusSource::largest_shapes(std::int64_t epoch) const {
  const auto epoch_plan = plan(epoch);
  std::vector<BatchShape> shapes;
  for (std::int64_t step = 0; step < epoch_plan->steps(); ++step) {
    for (std::int64_t s = rank_; s < micro_batches_; s += ranks_)
      keep_largest(shapes, shape_of(epoch_plan->slot(step, s)));
  }
  return shapes;
}

BatchShape CorpusSource::shape_of(std::span<const std::int64_t> sentences) const {
  std::vector<std::int32_t> source, target;
  for (const std::int64_t sentence : sentences) {
    source.push_back(lengths_[static_cast<std::size_t>(sentence)].source);
    target.push_back(lengths_[static_cast<std::size_t>(sentence)].target);
  }
  return {std::move(source), std::move(target)};
}

StepBatches CorpusSource::make(std::int64_t epoch, std::int64_t step_in_epoch) const {
  const auto epoch_plan = plan(epoch);
  ensure(step_in_epoch >= 0 && step_in_epoch < epoch_plan->steps(),
         "CorpusSource: step outside of the epoch");
  StepBatches step;
  step.epoch = epoch;
  step.step_in_epoch = step_in_epoch;
  for (std::int64_t s = 0; s < micro_batches_; ++s) {
    const auto sentences = epoch_plan->slot(step_in_epoch, s);
    const BatchShape shape = shape_of(sentences);
    step.source_tokens += shape.source_tokens();
    step.target_tokens += shape.target_tokens();
    step.padded_tokens += shape.source_tokens() + shape.target_tokens();
    step.score_cells += shape.real_score_cells();
    step.padded_score_cells += shape.score_cells();
    if (s % ranks_ == rank_) step.rounds.push_back(make_batch(*corpus_, sentences));
  }
  return step;
}

SyntheticSource::SyntheticSource(const config::DataSection& data, std::int64_t micro_batches,
                                 std::uint64_t seed, std::int64_t steps_per_epoch,
                                 std::int64_t rank, std::int64_t ranks)
    : data_(data),
      micro_batches_(micro_batches),
      seed_(seed),
      steps_per_epoch_(steps_per_epoch),
      rank_(rank),
      ranks_(ranks) {
  if (data.vocab_size <= 4)
    throw DeckError(
        "data.synthetic=random_ids needs data.vocab_size above 4 (4 ids are special), it is " +
        std::to_string(data.vocab_size));
  ensure(steps_per_epoch > 0, "SyntheticSource: an epoch needs at least one step");
}

StepBatches SyntheticSource::make(std::int64_t epoch, std::int64_t step_in_epoch) const {
  const std::int64_t tokens = data_.batch_size * data_.synthetic_length;
  StepBatches step;
  step.epoch = epoch;
  step.step_in_epoch = step_in_epoch;
  step.source_tokens = step.target_tokens = micro_batches_ * tokens;
  step.padded_tokens = 2 * step.source_tokens;
  step.score_cells = step.padded_score_cells = 3 * step.source_tokens * data_.synthetic_length;
  for (std::int64_t s = rank_; s < micro_batches_; s += ranks_) {
    const auto position =
        static_cast<std::uint64_t>((epoch * steps_per_epoch_ + step_in_epoch) * micro_batches_ + s);
    const std::uint64_t key = hash_pair(mix64(seed_), position);
    std::uint64_t counter = 0;
    const auto fill = [&](std::vector<std::int64_t>& ids) {
      ids.resize(static_cast<std::size_t>(tokens));
      for (std::int64_t& id : ids)
        id = 4 + static_cast<std::int64_t>(hash_pair(key, counter++) %
                                           static_cast<std::uint64_t>(data_.vocab_size - 4));
    };
    Batch batch;
    batch.sentences = data_.batch_size;
    batch.source_length = batch.target_length = data_.synthetic_length;
    batch.source_tokens = batch.target_tokens = tokens;
    batch.source_lengths.assign(static_cast<std::size_t>(batch.sentences),
                                static_cast<std::int32_t>(data_.synthetic_length));
    batch.target_lengths = batch.source_lengths;
    fill(batch.source);
    fill(batch.target_in);
    fill(batch.target_out);
    step.rounds.push_back(std::move(batch));
  }
  return step;
}

BatchLoader::BatchLoader(std::shared_ptr<const StepSource> source, std::int64_t epoch,
                         std::int64_t step_in_epoch, std::int64_t workers, std::int64_t ahead)
    : source_(std::move(source)),
      epoch_(epoch),
      step_(step_in_epoch),
      ahead_(std::max<std::int64_t>(1, ahead)) {
  while (step_ >= source_->steps(epoch_)) step_ -= source_->steps(epoch_++);
  for (std::int64_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

BatchLoader::Result BatchLoader::prepare(std::int64_t epoch, std::int64_t step) const {
  Result result;
  try {
    result.batches = source_->make(epoch, step);
  } catch (...) {
    result.error = std::current_exception();
  }
  return result;
}

void BatchLoader::advance() {
  if (++step_ < source_->steps(epoch_)) return;
  step_ = 0;
  ++epoch_;
}

void BatchLoader::work() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [this] { return stop_ || claimed_ < handed_ + ahead_; });
    if (stop_) return;
    const std::int64_t number = claimed_++;
    const std::int64_t epoch = epoch_;
    const std::int64_t step = step_;
    std::exception_ptr error;
    try {
      advance();
    } catch (...) {
      error = std::current_exception();
    }
    lock.unlock();
    Result result = prepare(epoch, step);
    if (error) result.error = error;
    lock.lock();
    results_.emplace(number, std::move(result));
    ready_.notify_one();
  }
}

StepBatches BatchLoader::next() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  Result result;
  if (threads_.empty()) {
    result = prepare(epoch_, step_);
    advance();
  } else {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return results_.contains(handed_); });
    result = std::move(results_.extract(handed_++).mapped());
    lock.unlock();
    room_.notify_one();
  }
  if (result.error) std::rethrow_exception(result.error);
  return std::move(result.batches);
}

}  // namespace th::data
