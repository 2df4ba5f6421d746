#include "th/data/batcher.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {
namespace {

using Slot = std::vector<std::int64_t>;

/// Fisher-Yates on counter-based draws.
template <class T>
void shuffle(std::vector<T>& values, std::uint64_t key) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[hash_pair(key, i) % i]);
}

std::int64_t longest(const SentenceLength& length) {
  return std::max(length.source, length.target);
}

void sort_by_length(std::span<std::int64_t> order, const Lengths& lengths) {
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const SentenceLength x = lengths[a], y = lengths[b];
    return std::pair(x.source + x.target, x.target) < std::pair(y.source + y.target, y.target);
  });
}

/// What a step may hold: micro_batches slots of data.batch_size sentences, or of data.batch_tokens
/// = sum of the longest sides.
class StepLimit {
 public:
  StepLimit(const Lengths& lengths, const config::DataSection& data, std::int64_t micro_batches)
      : lengths_(lengths),
        slots_(micro_batches),
        sentences_(data.batch_size),
        tokens_(data.batch_tokens) {}

  [[nodiscard]] std::int64_t size(std::int64_t sentence) const {
    return tokens_ > 0 ? longest(lengths_[sentence]) : 1;
  }
  /// Cuts sentences into steps, as many as fit into each; a last one that might take more stays
  /// behind in `rest`.
  [[nodiscard]] std::vector<Slot> cut(std::span<const std::int64_t> order, Slot& rest) const {
    std::vector<Slot> steps;
    Slot step;
    std::int64_t held = 0, widest = 0;
    for (const std::int64_t sentence : order) {
      const std::int64_t wider = std::max(widest, size(sentence));
      if (held + size(sentence) > room(wider)) {
        steps.push_back(std::exchange(step, {}));
        held = widest = 0;
      }
      step.push_back(sentence);
      held += size(sentence);
      widest = std::max(widest, size(sentence));
      if (tokens_ == 0 && held == room(1)) {
        steps.push_back(std::exchange(step, {}));
        held = widest = 0;
      }
    }
    rest = std::move(step);
    return steps;
  }
  /// Deals a step's sentences to its slots, the longest first and each to the slot that holds
  /// least: slots of nearly equal work. Within a slot sentences are sorted by length, so that those
  /// of like length attend together.
  [[nodiscard]] std::vector<Slot> deal(Slot step) const {
    sort_by_length(step, lengths_);
    std::vector<Slot> slots(static_cast<std::size_t>(slots_));
    std::vector<std::int64_t> work(slots.size());
    const std::int64_t most = (std::ssize(step) + slots_ - 1) / slots_;
    for (auto sentence = step.rbegin(); sentence != step.rend(); ++sentence) {
      const SentenceLength length = lengths_[*sentence];
      std::size_t least = slots.size();
      for (std::size_t s = 0; s < slots.size(); ++s) {
        const bool open = tokens_ > 0 || std::ssize(slots[s]) < most;
        if (open && (least == slots.size() || work[s] < work[least])) least = s;
      }
      slots[least].push_back(*sentence);
      work[least] += tokens_ > 0 ? longest(length) : length.source + length.target;
    }
    for (Slot& slot : slots) std::reverse(slot.begin(), slot.end());
    return slots;
  }

 private:
  /// What a step of sentences up to `widest` may hold so that deal() never overfills a slot: the
  /// fullest one ends at most `widest` above the mean.
  [[nodiscard]] std::int64_t room(std::int64_t widest) const {
    return tokens_ > 0 ? slots_ * tokens_ - (slots_ - 1) * widest : slots_ * sentences_;
  }
  Lengths lengths_;
  std::int64_t slots_, sentences_, tokens_;
};

std::vector<Slot> cut_by_count(std::span<const std::int64_t> order, std::int64_t size) {
  std::vector<Slot> slots;
  for (std::size_t i = 0; i < order.size(); i += static_cast<std::size_t>(size)) {
    const auto part = order.subspan(i, std::min(order.size() - i, static_cast<std::size_t>(size)));
    slots.emplace_back(part.begin(), part.end());
  }
  return slots;
}

}  // namespace

std::span<const std::int64_t> EpochPlan::slot(std::int64_t step,
                                              std::int64_t index) const noexcept {
  const auto at = static_cast<std::size_t>(step * micro_batches + index);
  return std::span(order).subspan(
      static_cast<std::size_t>(slot_offsets[at]),
      static_cast<std::size_t>(slot_offsets[at + 1] - slot_offsets[at]));
}

std::span<const SentenceLength> EpochPlan::slot_lengths(std::int64_t step,
                                                        std::int64_t index) const noexcept {
  if (lengths.empty()) return {};
  const auto at = static_cast<std::size_t>(step * micro_batches + index);
  return std::span(lengths).subspan(
      static_cast<std::size_t>(slot_offsets[at]),
      static_cast<std::size_t>(slot_offsets[at + 1] - slot_offsets[at]));
}

void require_steps(const Lengths& lengths, const config::DataSection& data,
                   std::int64_t micro_batches) {
  const std::int64_t need = data.batch_tokens > 0 ? micro_batches : micro_batches * data.batch_size;
  if (lengths.size() < need)
    throw DataError("the training corpus has " + std::to_string(lengths.size()) +
                    " sentence pairs, one step takes " + std::to_string(need) +
                    " (train.micro_batches " + std::to_string(micro_batches) +
                    ", data.batch_size " + std::to_string(data.batch_size) +
                    "); give more text or lower data.batch_size or train.micro_batches");
  if (data.batch_tokens <= 0) return;
  for (std::int64_t i = 0; i < lengths.size(); ++i)
    if (longest(lengths[i]) > data.batch_tokens)
      throw DataError("data.batch_tokens = " + std::to_string(data.batch_tokens) +
                      " is less than the longest sentence, " + std::to_string(longest(lengths[i])) +
                      " ids; raise it or lower data.max_length");
}

void shuffle_sentences(std::vector<std::int64_t>& sentences, std::uint64_t key) {
  shuffle(sentences, key);
}

EpochPlan make_epoch_plan(const Lengths& lengths, const config::DataSection& data,
                          std::int64_t micro_batches, std::uint64_t seed, std::int64_t epoch) {
  require_steps(lengths, data, micro_batches);
  const std::uint64_t key = hash_pair(mix64(seed), static_cast<std::uint64_t>(epoch));
  Slot shuffled(static_cast<std::size_t>(lengths.size()));
  std::iota(shuffled.begin(), shuffled.end(), std::int64_t{0});
  shuffle(shuffled, key);
  return plan_in_order(std::move(shuffled), lengths, data, micro_batches, key);
}

EpochPlan plan_in_order(std::vector<std::int64_t> order, const Lengths& lengths,
                        const config::DataSection& data, std::int64_t micro_batches,
                        std::uint64_t key) {
  const StepLimit limit(lengths, data, micro_batches);
  Slot rest;
  std::vector<Slot> steps = limit.cut(order, rest);
  if (data.sort_window > 1) {
    std::vector<Slot> sorted;
    const auto window = static_cast<std::size_t>(data.sort_window);
    for (std::size_t begin = 0; begin < steps.size(); begin += window) {
      Slot part;
      if (data.batch_tokens > 0) part = std::exchange(rest, {});
      for (std::size_t s = begin; s < std::min(begin + window, steps.size()); ++s)
        part.insert(part.end(), steps[s].begin(), steps[s].end());
      sort_by_length(part, lengths);
      Slot left;
      std::vector<Slot> cut = limit.cut(part, left);
      if (data.batch_tokens > 0) rest = std::move(left);
      shuffle(cut, hash_pair(key, begin + 1));
      std::move(cut.begin(), cut.end(), std::back_inserter(sorted));
    }
    steps = std::move(sorted);
  }
  if (!rest.empty()) steps.push_back(std::move(rest));
  EpochPlan plan{micro_batches, {}, {0}, {}};
  plan.order.reserve(order.size());
  for (Slot& step : steps) {
    for (const Slot& slot : limit.deal(std::move(step))) {
      plan.order.insert(plan.order.end(), slot.begin(), slot.end());
      plan.slot_offsets.push_back(std::ssize(plan.order));
    }
  }
  return plan;
}

std::int64_t steps_in_order(const std::vector<std::int64_t>& order, const Lengths& lengths,
                            const config::DataSection& data, std::int64_t micro_batches,
                            std::uint64_t key) {
  if (data.sort_window > 1) return plan_in_order(order, lengths, data, micro_batches, key).steps();
  Slot rest;
  const auto steps = std::ssize(StepLimit(lengths, data, micro_batches).cut(order, rest));
  return rest.empty() ? steps : steps + 1;
}

Batch make_batch(const ParallelCorpus& corpus, std::span<const std::int64_t> sentences) {
  std::size_t source = 0, target = 0;
  for (const std::int64_t sentence : sentences) {
    source += corpus.source(sentence).size();
    target += corpus.target(sentence).size() - 1;
  }
  Batch batch;
  batch.source.reserve(source);
  batch.target_in.reserve(target);
  batch.target_out.reserve(target);
  for (const std::int64_t sentence : sentences) {
    const auto source_ids = corpus.source(sentence), target_ids = corpus.target(sentence);
    corpus.require_ids(source_ids, target_ids);
    batch.append(source_ids, target_ids);
  }
  return batch;
}

std::vector<std::int64_t> first_eval_sentences(const ParallelCorpus& corpus,
                                               const config::DataSection& data) {
  constexpr std::int64_t kBeginning = std::int64_t{1} << 17;
  Slot order(static_cast<std::size_t>(corpus.size() > kPlannedWhole ? kBeginning : corpus.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  sort_by_length(order, corpus.length_view());
  order.resize(std::min(order.size(), static_cast<std::size_t>(data.batch_size)));
  return order;
}

std::int64_t eval_batch_count(const ParallelCorpus& corpus, const config::DataSection& data) {
  return (corpus.size() + data.batch_size - 1) / data.batch_size;
}

std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus,
                                         const config::DataSection& data, std::int64_t rank,
                                         std::int64_t ranks) {
  Slot all(static_cast<std::size_t>(corpus.size()));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return make_eval_batches(corpus, data, rank, ranks, all);
}

std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus,
                                         const config::DataSection& data, std::int64_t rank,
                                         std::int64_t ranks, std::span<const std::int64_t> some) {
  Slot order(some.begin(), some.end());
  sort_by_length(order, corpus.length_view());
  std::vector<EvalBatch> batches;
  std::vector<Slot> slots = cut_by_count(order, data.batch_size);
  for (std::int64_t number = rank; number < std::ssize(slots); number += ranks) {
    Slot& sentences = slots[static_cast<std::size_t>(number)];
    Batch batch = make_batch(corpus, sentences);
    batches.push_back({number, std::move(sentences), std::move(batch)});
  }
  return batches;
}

std::vector<EvalBatch> make_source_batches(const std::vector<std::vector<std::int32_t>>& sources,
                                           const config::DataSection& data, std::int64_t rank,
                                           std::int64_t ranks) {
  const auto source = [&](std::int64_t place) -> const std::vector<std::int32_t>& {
    return sources[static_cast<std::size_t>(place)];
  };
  Slot order(sources.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return source(a).size() < source(b).size();
  });
  std::vector<EvalBatch> batches;
  std::vector<Slot> slots = cut_by_count(order, data.batch_size);
  for (std::int64_t number = rank; number < std::ssize(slots); number += ranks) {
    Slot& sentences = slots[static_cast<std::size_t>(number)];
    Batch batch;
    for (const std::int64_t sentence : sentences) batch.append(source(sentence), {});
    batches.push_back({number, std::move(sentences), std::move(batch)});
  }
  return batches;
}

}  // namespace th::data
