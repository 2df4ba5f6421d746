#include "th/data/loader.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

namespace th::data {

SyntheticSource::SyntheticSource(const config::DataSection& data, const SlotDealing& dealing,
                                 std::uint64_t seed, std::int64_t steps_per_epoch,
                                 std::int64_t rank)
    : data_(data), dealing_(dealing), seed_(seed), steps_per_epoch_(steps_per_epoch), rank_(rank) {
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
  step.source_tokens = step.target_tokens = dealing_.slots * tokens;
  step.padded_tokens = 2 * step.source_tokens;
  step.score_cells = step.padded_score_cells = 3 * step.source_tokens * data_.synthetic_length;
  for (std::int64_t pass = 0; pass < dealing_.passes(); ++pass) {
    const std::int64_t slot = dealing_.slot(rank_, pass);
    if (slot >= 0) step.rounds.push_back(make_slot(epoch, step_in_epoch, slot));
  }
  return step;
}

Batch SyntheticSource::make_slot(std::int64_t epoch, std::int64_t step_in_epoch,
                                 std::int64_t slot) const {
  const std::int64_t tokens = data_.batch_size * data_.synthetic_length;
  const auto position = static_cast<std::uint64_t>(
      (epoch * steps_per_epoch_ + step_in_epoch) * dealing_.slots + slot);
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
  return batch;
}

BatchLoader::BatchLoader(std::shared_ptr<const StepSource> source, std::int64_t epoch,
                         std::int64_t step_in_epoch, std::int64_t workers, std::int64_t ahead,
                         Notes notes)
    : source_(std::move(source)),
      notes_(std::move(notes)),
      epoch_(epoch),
      step_(step_in_epoch),
      ahead_(std::max<std::int64_t>(1, ahead)) {
  while (step_ >= source_->steps(epoch_)) step_ -= source_->steps(epoch_++);
  for (std::int64_t i = 0; i < workers; ++i) threads_.emplace_back([this, i] { work(i); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

BatchLoader::Result BatchLoader::prepare(const Place& place, std::int64_t worker) const {
  using runtime::FlightRecord;
  const FlightRecord::StepScope event(notes_.record, FlightRecord::What::kRead,
                                      FlightRecord::On::kReading, notes_.first_step + place.number,
                                      worker);
  Result result;
  try {
    result.batches = source_->make(place.epoch, place.step_in_epoch);
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

void BatchLoader::work(std::int64_t worker) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [this] { return stop_ || claimed_ < handed_ + ahead_; });
    if (stop_) return;
    const Place place{epoch_, step_, claimed_++};
    std::exception_ptr error;
    try {
      advance();
    } catch (...) {
      error = std::current_exception();
    }
    lock.unlock();
    Result result = prepare(place, worker);
    if (error) result.error = error;
    lock.lock();
    results_.emplace(place.number, std::move(result));
    ready_.notify_one();
  }
}

StepBatches BatchLoader::next() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  Result result;
  if (threads_.empty()) {
    result = prepare({epoch_, step_, handed_++}, 0);
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
