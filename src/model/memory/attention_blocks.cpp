#include "th/model/memory/packed_rows.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace th::model {

namespace {

/// Queries of a block: about half of the reach, so that most of a block's scores are seen, and
/// enough for a product.
std::int64_t block_queries(const runtime::ScoreRule& rule) {
  return std::clamp<std::int64_t>((rule.reach() / 2 + 15) / 16 * 16, 32, 128);
}

struct Block {
  op::RowSpan queries, keys;
};

using Blocks = runtime::PlannedVector<Block>;
using Allocator = runtime::PlannedAllocator<Block>;

/// The blocks of one sentence, whose packed rows of queries and keys begin there.
Blocks blocks_of(const runtime::ScoreRule& rule, const op::RowSpan& queries,
                 const op::RowSpan& keys, const Allocator& allocator) {
  Blocks out{allocator};
  const std::int64_t size = block_queries(rule);
  out.reserve(static_cast<std::size_t>((queries.length + size - 1) / size));
  for (std::int64_t first = 0; first < queries.length; first += size) {
    const std::int64_t end = std::min(first + size, queries.length);
    const std::int64_t begin_key = rule.keys(first, keys.length).begin;
    const std::int64_t end_key = std::max(begin_key, rule.keys(end - 1, keys.length).end);
    out.push_back(
        {{queries.row + first, end - first, first, queries.length, queries.sentence},
         {keys.row + begin_key, end_key - begin_key, begin_key, keys.length, keys.sentence}});
  }
  return out;
}

/// The least number n so that no block has a key in common with the n-th after it.
std::int64_t turns(const Blocks& blocks) {
  std::size_t most = 1, next = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const std::int64_t end = blocks[i].keys.position + blocks[i].keys.count;
    next = std::max(next, i + 1);
    while (next < blocks.size() && blocks[next].keys.position < end) ++next;
    most = std::max(most, next - i);
  }
  return static_cast<std::int64_t>(most);
}

std::int64_t padded(std::int64_t length) {
  constexpr std::int64_t kMultiple = data::kGroupLength;
  return std::max<std::int64_t>(1, (length + kMultiple - 1) / kMultiple) * kMultiple;
}

}  // namespace

AttentionBlocks attention_blocks(const runtime::ScoreRule& rule,
                                 std::span<const std::int64_t> query_offsets,
                                 std::span<const std::int64_t> key_offsets, bool planned) {
  const Allocator allocator(planned);
  AttentionBlocks out;
  if (!rule.local()) return out;
  const std::int64_t size = block_queries(rule);
  std::int64_t count = 0;
  for (std::size_t b = 0; b + 1 < query_offsets.size(); ++b)
    count += (query_offsets[b + 1] - query_offsets[b] + size - 1) / size;
  using Shape = std::tuple<std::int64_t, std::int64_t, std::int64_t>;  // turn, queries, keys
  std::map<Shape, Blocks> groups;
  for (std::size_t b = 0; b + 1 < query_offsets.size(); ++b) {
    const auto whole = [b](std::span<const std::int64_t> offsets) {
      const std::int64_t length = offsets[b + 1] - offsets[b];
      return op::RowSpan{offsets[b], length, 0, length, static_cast<std::int64_t>(b)};
    };
    const Blocks blocks = blocks_of(rule, whole(query_offsets), whole(key_offsets), allocator);
    const std::int64_t every = turns(blocks);
    for (std::int64_t i = 0; i < std::ssize(blocks); ++i) {
      const Block& block = blocks[static_cast<std::size_t>(i)];
      const Shape shape{i % every, padded(block.queries.count), padded(block.keys.count)};
      groups.try_emplace(shape, allocator).first->second.push_back(block);
    }
  }
  for (runtime::PlannedVector<op::RowSpan>* spans : {&out.queries, &out.keys}) {
    *spans = runtime::PlannedVector<op::RowSpan>(allocator);
    spans->reserve(static_cast<std::size_t>(count));
  }
  for (const auto& [shape, blocks] : groups) {
    out.groups.push_back(
        {std::ssize(out.queries), std::ssize(blocks), std::get<1>(shape), std::get<2>(shape)});
    for (const Block& block : blocks) {
      out.queries.push_back(block.queries);
      out.keys.push_back(block.keys);
    }
  }
  return out;
}

}  // namespace th::model
