#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "th/base/hash.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/model/memory/tensors.hpp"

// A model that is a table, and a search spelled out over it: what a search finds is compared with
// what can be counted.
namespace th::model::test {

using Ids = std::vector<std::int32_t>;

inline double uniform(std::uint64_t key) { return static_cast<double>(key >> 11) * 0x1p-53; }

/// Logits after `prefix` of a sentence: a hash of both and of the id, about normal.
struct LogitTable {
  std::int64_t vocabulary = 7;
  double scale = 3.0, end_bonus = 0.0;

  [[nodiscard]] std::vector<float> after(std::uint64_t sentence, const Ids& prefix) const {
    std::uint64_t key = hash_pair(77, sentence);
    for (const std::int32_t id : prefix) key = hash_pair(key, static_cast<std::uint64_t>(id));
    std::vector<float> logits;
    for (std::int64_t v = 0; v < vocabulary; ++v) {
      double sum = 0;
      for (std::uint64_t part = 0; part < 4; ++part)
        sum += uniform(hash_pair(key, static_cast<std::uint64_t>(v) * 4 + part)) - 0.5;
      logits.push_back(static_cast<float>(sum * scale + (v == data::kEnd ? end_bonus : 0.0)));
    }
    return logits;
  }
  /// log p in fp64.
  [[nodiscard]] std::vector<double> log_probabilities(std::uint64_t sentence,
                                                      const Ids& prefix) const {
    const std::vector<float> logits = after(sentence, prefix);
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    std::vector<double> out;
    for (const float x : logits) out.push_back(static_cast<double>(x) - std::log(sum));
    return out;
  }
};

/// The table as a decoder of sentences, which are numbers.
class TableDecoder final : public StepDecoder {
 public:
  TableDecoder(const LogitTable& table, std::vector<std::uint64_t> sentences,
               std::int64_t* rows = nullptr)
      : table_(table), sentences_(std::move(sentences)), counted_(rows) {}

  StepLogits step(std::span<const std::int32_t> ids,
                  std::span<const std::int64_t> parents) override {
    std::vector<Row> next;
    for (std::size_t r = 0; r < ids.size(); ++r) {
      const auto parent = static_cast<std::size_t>(parents[r]);
      next.push_back(first_ ? Row{sentences_.at(parent), {}} : rows_.at(parent));
      if (!first_) next.back().ids.push_back(ids[r]);
    }
    rows_ = std::move(next);
    first_ = false;
    if (counted_ != nullptr) *counted_ += std::ssize(rows_);
    at::Tensor logits = empty({std::ssize(rows_), table_.vocabulary}, at::kFloat);
    float* out = logits.data_ptr<float>();
    for (const Row& row : rows_) {
      const std::vector<float> x = table_.after(row.sentence, row.ids);
      out = std::copy(x.begin(), x.end(), out);
    }
    return logits;
  }

 private:
  struct Row {
    std::uint64_t sentence;
    Ids ids;
  };
  LogitTable table_;
  std::vector<std::uint64_t> sentences_;
  std::int64_t* counted_;
  std::vector<Row> rows_;
  bool first_ = true;
};

/// The search over the table; `rows` counts rows of all steps.
inline std::vector<std::vector<Hypothesis>> search_table(
    const LogitTable& table, const std::vector<std::uint64_t>& sentences,
    const SearchOptions& options, std::span<const SentenceOptions> of_sentences = {},
    std::int64_t* rows = nullptr) {
  BatchSearch search(std::make_unique<TableDecoder>(table, sentences, rows), std::ssize(sentences),
                     options.max_length, options, of_sentences);
  while (!search.done()) search.step();
  return std::move(search).results();
}

/// Whether `whole` has `part` as its end.
inline bool ends(const Ids& whole, const Ids& part) {
  return whole.size() >= part.size() && std::equal(part.rbegin(), part.rend(), whole.rbegin());
}

/// Whether the last n ids stand in `ids` before, too.
inline bool repeats(const Ids& ids, std::int64_t n) {
  if (n == 0 || std::ssize(ids) < n) return false;
  const Ids last(ids.end() - n, ids.end());
  for (std::ptrdiff_t begin = 0; begin + n < std::ssize(ids); ++begin)
    if (std::equal(last.begin(), last.end(), ids.begin() + begin)) return true;
  return false;
}

/// The ids that may follow `ids`, from the options' definitions.
inline Ids continuations(const Ids& ids, const SearchOptions& o, const Ids& prefix,
                         std::int64_t vocabulary) {
  if (ids.size() < prefix.size()) return {prefix[ids.size()]};
  if (std::ssize(ids) == o.max_length) return {data::kEnd};
  Ids out;
  for (std::int32_t id = 0; id < vocabulary; ++id) {
    if (id == data::kPad || id == data::kBegin) continue;
    if (id == data::kEnd) {
      if (std::ssize(ids) >= o.min_length) out.push_back(id);
      continue;
    }
    Ids longer = ids;
    longer.push_back(id);
    const bool barred = std::any_of(o.forbidden.begin(), o.forbidden.end(),
                                    [&](const Ids& sequence) { return ends(longer, sequence); });
    if (!barred && !repeats(longer, o.no_repeat_ngram)) out.push_back(id);
  }
  return out.empty() ? Ids{data::kEnd} : out;
}

inline double score_of(const Hypothesis& h, const SearchOptions& o) {
  return h.log_prob /
         length_penalty(std::ssize(h.ids) + 1, o.length_penalty, o.length_normalization);
}

}  // namespace th::model::test
