#include "th/data/shortlist/shortlist.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {

namespace {

/// A set of ids below a vocabulary's size.
class IdSet {
 public:
  explicit IdSet(std::int64_t vocabulary)
      : words_(static_cast<std::size_t>(vocabulary + 63) / 64) {}
  void insert(std::int32_t id) {
    words_[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (id % 64);
  }
  void insert_all(std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids) insert(id);
  }
  void erase(std::int32_t id) {
    words_[static_cast<std::size_t>(id) / 64] &= ~(std::uint64_t{1} << (id % 64));
  }
  [[nodiscard]] std::vector<std::int32_t> sorted() const {
    std::vector<std::int32_t> ids;
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::uint64_t left = words_[w]; left != 0; left &= left - 1)
        ids.push_back(static_cast<std::int32_t>(64 * w) + std::countr_zero(left));
    }
    return ids;
  }

 private:
  std::vector<std::uint64_t> words_;
};

std::vector<std::int32_t> most_frequent(const std::vector<std::int32_t>& ids,
                                        std::int64_t vocabulary, std::int64_t count) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(vocabulary), 0);
  for (const std::int32_t id : ids) ++counts[static_cast<std::size_t>(id)];
  std::vector<std::int32_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](std::int32_t id) { return counts[static_cast<std::size_t>(id)] == 0; });
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return counts[static_cast<std::size_t>(a)] > counts[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(std::min(count, std::ssize(order))));
  return order;
}

}  // namespace

ShortlistIds learn_shortlist(const IdPairs& pairs, const TokenizerPair& tokenizers,
                             const ShortlistOptions& options) {
  const std::int64_t target_size = tokenizers.target->size();
  ShortlistIds lists;
  lists.first = most_frequent(pairs.all_targets(), target_size, options.first);
  for (const std::vector<WordTranslation>& all :
       learn_translations(pairs, tokenizers.source->size(), target_size, options.iterations)) {
    std::vector<std::int32_t>& best = lists.best.emplace_back();
    for (const WordTranslation& t : all) {
      if (std::ssize(best) == options.best) break;
      if (static_cast<double>(t.probability) < options.threshold) break;
      best.push_back(t.id);
    }
  }
  return lists;
}

Shortlist::Shortlist(ShortlistIds lists, TokenizerPair tokenizers)
    : lists_(std::move(lists)),
      tokenizers_(std::move(tokenizers)),
      one_vocabulary_(tokenizers_.source == tokenizers_.target ||
                      tokenizers_.source->saved() == tokenizers_.target->saved()) {}

std::vector<std::int32_t> Shortlist::candidates(std::span<const std::int32_t> source,
                                                std::span<const std::int32_t> also) const {
  IdSet ids(tokenizers_.target->size());
  ids.insert_all(lists_.first);
  for (const std::int32_t id : source) ids.insert_all(lists_.best[static_cast<std::size_t>(id)]);
  if (one_vocabulary_)
    ids.insert_all(source);
  else
    ids.insert_all(tokenizers_.target->encode(tokenizers_.source->decode(source)));
  ids.insert_all(also);
  // No translation has them.
  ids.erase(kPad);
  ids.erase(kBegin);
  ids.insert(kUnknown);
  ids.insert(kEnd);
  return ids.sorted();
}

}  // namespace th::data
