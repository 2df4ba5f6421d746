#include "th/data/batcher.hpp"

#include <algorithm>
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
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[hash_pair(key, i) % i]);
}

std::int64_t longest(const SentenceLength& length) { return std::max(length.source, length.target); }

void sort_by_length(std::span<std::int64_t> order, std::span<const SentenceLength> lengths) {
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const SentenceLength& x = lengths[static_cast<std::size_t>(a)];
    const SentenceLength& y = lengths[static_cast<std::size_t>(b)];
    return std::pair(x.source + x.target, x.target) < std::pair(y.source + y.target, y.target);
  });
}

/// Cuts sentences into slots of at most `tokens` = sentences * longest side.
std::vector<Slot> cut_by_tokens(std::span<const std::int64_t> order, std::span<const SentenceLength> lengths, std::int64_t tokens) {
  std::vector<Slot> slots;
  std::int64_t width = 0;
  for (const std::int64_t sentence : order) {
    const std::int64_t wider = std::max(width, longest(lengths[static_cast<std::size_t>(sentence)]));
    const bool fits = !slots.empty() && (std::ssize(slots.back()) + 1) * wider <= tokens;
    if (!fits) slots.emplace_back();
    width = fits ? wider : longest(lengths[static_cast<std::size_t>(sentence)]);
    slots.back().push_back(sentence);
  }
  return slots;
}

std::vector<Slot> cut_by_count(std::span<const std::int64_t> order, std::int64_t size) {
  std::vector<Slot> slots;
  for (std::size_t i = 0; i < order.size(); i += static_cast<std::size_t>(size)) {
    const auto part = order.subspan(i, std::min(order.size() - i, static_cast<std::size_t>(size)));
    slots.emplace_back(part.begin(), part.end());
  }
  return slots;
}

/// Halves the fullest slot until there are `count`; empty slots where there are too few sentences.
void spread(std::vector<Slot>& slots, std::int64_t count) {
  while (std::ssize(slots) < count) {
    const auto fullest = std::max_element(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.size() < b.size(); });
    const auto half = fullest->begin() + std::ssize(*fullest) / 2;
    Slot rest(half, fullest->end());
    fullest->erase(half, fullest->end());
    std::swap(*fullest, rest);
    slots.push_back(std::move(rest));
  }
}

std::vector<Slot> deal_evenly(std::span<const std::int64_t> order, std::int64_t count) {
  std::vector<Slot> slots;
  const std::int64_t total = std::ssize(order);
  for (std::int64_t s = 0; s < count; ++s) slots.emplace_back(order.begin() + total * s / count, order.begin() + total * (s + 1) / count);
  return slots;
}

void check(std::span<const SentenceLength> lengths, const config::DataSection& data, std::int64_t micro_batches) {
  const std::int64_t need = data.batch_tokens > 0 ? micro_batches : micro_batches * data.batch_size;
  if (std::ssize(lengths) < need)
    throw DataError("the training corpus has " + std::to_string(lengths.size()) + " sentence pairs, one step takes " + std::to_string(need) +
                    " (train.micro_batches " + std::to_string(micro_batches) + ", data.batch_size " + std::to_string(data.batch_size) +
                    "); give more text or lower data.batch_size or train.micro_batches");
  if (data.batch_tokens <= 0) return;
  for (const SentenceLength& length : lengths)
    if (longest(length) > data.batch_tokens)
      throw DataError("data.batch_tokens = " + std::to_string(data.batch_tokens) + " is less than the longest sentence, " +
                      std::to_string(longest(length)) + " ids; raise it or lower data.max_length");
}

void append_steps(EpochPlan& plan, std::vector<Slot> slots, std::uint64_t key) {
  std::vector<std::size_t> steps(slots.size() / static_cast<std::size_t>(plan.micro_batches));
  std::iota(steps.begin(), steps.end(), std::size_t{0});
  shuffle(steps, key);
  for (const std::size_t step : steps)
    for (std::size_t s = 0; s < static_cast<std::size_t>(plan.micro_batches); ++s) {
      const Slot& slot = slots[step * static_cast<std::size_t>(plan.micro_batches) + s];
      plan.order.insert(plan.order.end(), slot.begin(), slot.end());
      plan.slot_offsets.push_back(std::ssize(plan.order));
    }
}

}  // namespace

std::span<const std::int64_t> EpochPlan::slot(std::int64_t step, std::int64_t index) const noexcept {
  const auto at = static_cast<std::size_t>(step * micro_batches + index);
  return std::span(order).subspan(static_cast<std::size_t>(slot_offsets[at]), static_cast<std::size_t>(slot_offsets[at + 1] - slot_offsets[at]));
}

EpochPlan make_epoch_plan(std::span<const SentenceLength> lengths, const config::DataSection& data, std::int64_t micro_batches,
                          std::uint64_t seed, std::int64_t epoch) {
  check(lengths, data, micro_batches);
  const std::uint64_t key = hash_pair(mix64(seed), static_cast<std::uint64_t>(epoch));
  Slot shuffled(lengths.size());
  std::iota(shuffled.begin(), shuffled.end(), std::int64_t{0});
  shuffle(shuffled, key);
  EpochPlan plan{micro_batches, {}, {0}};
  const bool by_tokens = data.batch_tokens > 0;
  std::int64_t step_size = micro_batches * data.batch_size;
  if (by_tokens) {
    const std::int64_t all = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}, [](std::int64_t sum, const auto& l) { return sum + longest(l); });
    step_size = std::max(micro_batches, micro_batches * data.batch_tokens * std::ssize(lengths) / all);
  }
  const std::int64_t whole = by_tokens ? std::ssize(shuffled) : std::ssize(shuffled) / step_size * step_size;
  const std::int64_t window = step_size * std::max<std::int64_t>(1, data.sort_window);
  Slot rest;
  for (std::int64_t begin = 0; begin < whole; begin += window) {
    Slot part = std::exchange(rest, {});
    part.insert(part.end(), shuffled.begin() + begin, shuffled.begin() + std::min(begin + window, whole));
    if (data.sort_window > 0) sort_by_length(part, lengths);
    std::vector<Slot> slots = by_tokens ? cut_by_tokens(part, lengths, data.batch_tokens) : cut_by_count(part, data.batch_size);
    while (std::ssize(slots) % micro_batches != 0) {
      rest.insert(rest.end(), slots.back().begin(), slots.back().end());
      slots.pop_back();
    }
    append_steps(plan, std::move(slots), hash_pair(key, static_cast<std::uint64_t>(begin) + 1));
  }
  rest.insert(rest.end(), shuffled.begin() + whole, shuffled.end());
  if (rest.empty()) return plan;
  if (data.sort_window > 0) sort_by_length(rest, lengths);
  std::vector<Slot> last = by_tokens ? cut_by_tokens(rest, lengths, data.batch_tokens) : deal_evenly(rest, micro_batches);
  spread(last, (std::ssize(last) + micro_batches - 1) / micro_batches * micro_batches);
  append_steps(plan, std::move(last), key);
  return plan;
}

void keep_largest(std::vector<BatchShape>& shapes, const BatchShape& shape) {
  const auto within = [](const BatchShape& a, const BatchShape& b) {
    return a.sentences <= b.sentences && a.source_length <= b.source_length && a.target_length <= b.target_length;
  };
  if (shape.sentences == 0 || std::any_of(shapes.begin(), shapes.end(), [&](const BatchShape& s) { return within(shape, s); })) return;
  std::erase_if(shapes, [&](const BatchShape& s) { return within(s, shape); });
  shapes.push_back(shape);
}

Batch make_batch(const ParallelCorpus& corpus, std::span<const std::int64_t> sentences) {
  Batch batch;
  batch.sentences = std::ssize(sentences);
  for (const std::int64_t sentence : sentences) {
    batch.source_lengths.push_back(static_cast<std::int32_t>(corpus.source(sentence).size()));
    batch.target_lengths.push_back(static_cast<std::int32_t>(corpus.target(sentence).size()) - 1);
    batch.source_length = std::max<std::int64_t>(batch.source_length, batch.source_lengths.back());
    batch.target_length = std::max<std::int64_t>(batch.target_length, batch.target_lengths.back());
    batch.source_tokens += batch.source_lengths.back();
    batch.target_tokens += batch.target_lengths.back();
  }
  batch.source.assign(static_cast<std::size_t>(batch.sentences * batch.source_length), kPad);
  batch.target_in.assign(static_cast<std::size_t>(batch.sentences * batch.target_length), kPad);
  batch.target_out = batch.target_in;
  for (std::int64_t row = 0; row < batch.sentences; ++row) {
    const std::int64_t sentence = sentences[static_cast<std::size_t>(row)];
    const auto source = corpus.source(sentence);
    const auto target = corpus.target(sentence);
    std::copy(source.begin(), source.end(), batch.source.begin() + row * batch.source_length);
    std::copy(target.begin(), target.end() - 1, batch.target_in.begin() + row * batch.target_length);
    std::copy(target.begin() + 1, target.end(), batch.target_out.begin() + row * batch.target_length);
  }
  return batch;
}

std::int64_t eval_batch_count(const ParallelCorpus& corpus, const config::DataSection& data) {
  return (corpus.size() + data.batch_size - 1) / data.batch_size;
}

std::vector<EvalBatch> make_eval_batches(const ParallelCorpus& corpus, const config::DataSection& data, std::int64_t rank, std::int64_t ranks) {
  Slot order(static_cast<std::size_t>(corpus.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  sort_by_length(order, corpus.lengths());
  std::vector<EvalBatch> batches;
  std::vector<Slot> slots = cut_by_count(order, data.batch_size);
  for (std::int64_t number = rank; number < std::ssize(slots); number += ranks) {
    Slot& sentences = slots[static_cast<std::size_t>(number)];
    Batch batch = make_batch(corpus, sentences);
    batches.push_back({number, std::move(sentences), std::move(batch)});
  }
  return batches;
}

}  // namespace th::data
