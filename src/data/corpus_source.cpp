#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "data/epoch_order.hpp"
#include "data/sampled_pairs.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/loader.hpp"

namespace th::data {

namespace {

constexpr std::int64_t kPiece = std::int64_t{1} << 17;  // pairs, at least

/// Pairs of a piece: whole steps of data.batch_size, or enough for many by data.batch_tokens.
std::int64_t pairs_of_piece(const config::DataSection& data, std::int64_t micro_batches) {
  constexpr std::int64_t kSteps = 16;
  if (data.batch_tokens > 0) return std::max(kPiece, micro_batches * data.batch_tokens);
  const std::int64_t step = micro_batches * data.batch_size;
  return (std::max(kPiece, kSteps * step) + step - 1) / step * step;
}

}  // namespace

CorpusSource::CorpusSource(const TrainingPairs& training, const config::DataSection& data,
                           const SlotDealing& dealing, std::uint64_t seed, std::int64_t rank)
    : corpus_(training.corpus),
      data_(data),
      dealing_(dealing),
      seed_(seed),
      rank_(rank),
      pairs_(std::make_unique<const EpochPairs>(corpus_->info().file_pairs, data, seed)),
      piece_pairs_(corpus_->size()) {
  require_steps(corpus_->length_view(), data_, dealing_.slots);
  const TokenizerPair& both = training.tokenizers;
  const bool subwords = !both.empty() && (both.source->kind() != config::TokenizerKind::kWord ||
                                          both.target->kind() != config::TokenizerKind::kWord);
  if (data_.subword_sampling > 0 && subwords)
    sampled_ = std::make_unique<const SampledPairs>(corpus_, training.tokenizers, data_, seed_);
  ensure(pairs_->size() == corpus_->size(), "CorpusSource: its files have another number of pairs");
  if (corpus_->size() > kPlannedWhole) {
    piece_pairs_ = pairs_of_piece(data_, dealing_.slots);
    pieces_ = (corpus_->size() + piece_pairs_ - 1) / piece_pairs_;
  }
}

CorpusSource::~CorpusSource() = default;

std::vector<std::int64_t> CorpusSource::shares() const { return pairs_->shares(); }

std::uint64_t CorpusSource::key(std::int64_t epoch, std::int64_t piece) const {
  const std::uint64_t whole = hash_pair(mix64(seed_), static_cast<std::uint64_t>(epoch));
  return pieces_ == 1 ? whole : hash_pair(~whole, static_cast<std::uint64_t>(piece));
}

std::vector<std::int64_t> CorpusSource::order(std::int64_t epoch, std::int64_t piece) const {
  const std::int64_t begin = piece * piece_pairs_;
  std::vector<std::int64_t> order(
      static_cast<std::size_t>(std::min(piece_pairs_, corpus_->size() - begin)));
  if (pieces_ == 1) {
    for (std::size_t i = 0; i < order.size(); ++i)
      order[i] = pairs_->pair(epoch, static_cast<std::int64_t>(i));
    shuffle_sentences(order, key(epoch, 0));
    return order;
  }
  const Permutation places(corpus_->size(), key(epoch, -1));
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = pairs_->pair(epoch, places(begin + static_cast<std::int64_t>(i)));
  return order;
}

CorpusSource::Plan CorpusSource::plan(std::int64_t epoch, std::int64_t piece) const {
  const std::pair place(epoch, piece);
  Plan& found = plans_[place];
  if (!found)
    found = std::make_shared<const EpochPlan>(
        sampled_ ? plan_sampled(epoch, piece)
                 : plan_in_order(order(epoch, piece), corpus_->length_view(), data_, dealing_.slots,
                                 key(epoch, piece)));
  const Plan result = found;
  while (plans_.size() > 2)
    plans_.erase(plans_.begin()->first == place ? std::prev(plans_.end()) : plans_.begin());
  return result;
}

EpochPlan CorpusSource::plan_sampled(std::int64_t epoch, std::int64_t piece) const {
  const std::vector<std::int64_t> sentences = order(epoch, piece);
  std::vector<SentenceLength> lengths;
  lengths.reserve(sentences.size());
  for (const std::int64_t sentence : sentences)
    lengths.push_back(sampled_->length(epoch, sentence));
  // The plan looks at lengths and places alone, so it takes places for the sentences' numbers.
  std::vector<std::int64_t> places(sentences.size());
  std::iota(places.begin(), places.end(), std::int64_t{0});
  EpochPlan plan =
      plan_in_order(std::move(places), lengths, data_, dealing_.slots, key(epoch, piece));
  for (std::int64_t& place : plan.order) {
    const auto at = static_cast<std::size_t>(place);
    plan.lengths.push_back(lengths[at]);
    place = sentences[at];
  }
  return plan;
}

std::int64_t CorpusSource::count_steps(std::int64_t epoch, std::int64_t piece) const {
  if (data_.batch_tokens > 0 && pieces_ == 1) return plan(epoch, piece)->steps();
  if (data_.batch_tokens > 0 && sampled_) return plan_sampled(epoch, piece).steps();
  if (data_.batch_tokens > 0)
    return steps_in_order(order(epoch, piece), corpus_->length_view(), data_, dealing_.slots,
                          key(epoch, piece));
  const std::int64_t step = dealing_.slots * data_.batch_size;
  const std::int64_t pairs = std::min(piece_pairs_, corpus_->size() - piece * piece_pairs_);
  return (pairs + step - 1) / step;
}

const std::vector<std::int64_t>& CorpusSource::first_steps(std::int64_t epoch) const {
  const auto known = first_steps_.find(epoch);
  if (known != first_steps_.end()) return known->second;
  std::vector<std::int64_t> first{0};
  for (std::int64_t piece = 0; piece < pieces_; ++piece)
    first.push_back(first.back() + count_steps(epoch, piece));
  // They are small, and the lay-out of an epoch is not counted twice.
  return first_steps_[epoch] = std::move(first);
}

CorpusSource::Place CorpusSource::find(std::int64_t epoch, std::int64_t step) const {
  const std::lock_guard lock(mutex_);
  const std::vector<std::int64_t>& first = first_steps(epoch);
  ensure(step >= 0 && step < first.back(), "CorpusSource: step outside of the epoch");
  const auto piece = std::upper_bound(first.begin(), first.end(), step) - first.begin() - 1;
  return {plan(epoch, piece), step - first[static_cast<std::size_t>(piece)]};
}

std::int64_t CorpusSource::steps(std::int64_t epoch) const {
  const std::lock_guard lock(mutex_);
  return first_steps(epoch).back();
}

std::vector<BatchShape> CorpusSource::largest_shapes(std::int64_t epoch, SlotsOf whose) const {
  const bool all = whose == SlotsOf::kAllRanks;
  const Plan first = find(epoch, 0).plan;
  std::vector<BatchShape> shapes;
  for (std::int64_t step = 0; step < first->steps(); ++step) {
    for (std::int64_t s = 0; s < dealing_.slots; ++s) {
      if (all || dealing_.place(s).rank == rank_) keep_largest(shapes, shape_of(*first, step, s));
    }
  }
  return shapes;
}

BatchShape CorpusSource::shape_of(const EpochPlan& plan, std::int64_t step,
                                  std::int64_t slot) const {
  const Lengths lengths = corpus_->length_view();
  const std::span<const std::int64_t> sentences = plan.slot(step, slot);
  const std::span<const SentenceLength> drawn = plan.slot_lengths(step, slot);
  std::vector<std::int32_t> source, target;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const SentenceLength length = drawn.empty() ? lengths[sentences[i]] : drawn[i];
    source.push_back(length.source);
    target.push_back(length.target);
  }
  return {std::move(source), std::move(target)};
}

Batch CorpusSource::batch_of(std::int64_t epoch, std::span<const std::int64_t> sentences) const {
  if (!sampled_) return make_batch(*corpus_, sentences);
  Batch batch;
  for (const std::int64_t sentence : sentences)
    batch.append(sampled_->source(epoch, sentence), sampled_->target(epoch, sentence));
  return batch;
}

StepBatches CorpusSource::make(std::int64_t epoch, std::int64_t step_in_epoch) const {
  const Place place = find(epoch, step_in_epoch);
  StepBatches step;
  step.epoch = epoch;
  step.step_in_epoch = step_in_epoch;
  for (std::int64_t s = 0; s < dealing_.slots; ++s) {
    const auto sentences = place.plan->slot(place.step, s);
    const BatchShape shape = shape_of(*place.plan, place.step, s);
    step.source_tokens += shape.source_tokens();
    step.target_tokens += shape.target_tokens();
    step.padded_tokens += shape.source_tokens() + shape.target_tokens();
    step.score_cells += shape.real_score_cells();
    step.padded_score_cells += shape.score_cells();
    if (dealing_.place(s).rank != rank_) continue;
    step.rounds.push_back(batch_of(epoch, sentences));
    corpus_->forget_pages();
  }
  return step;
}

Batch CorpusSource::make_slot(std::int64_t epoch, std::int64_t step_in_epoch,
                              std::int64_t slot) const {
  const Place place = find(epoch, step_in_epoch);
  Batch batch = batch_of(epoch, place.plan->slot(place.step, slot));
  corpus_->forget_pages();
  return batch;
}

}  // namespace th::data
