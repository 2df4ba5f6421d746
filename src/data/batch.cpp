#include "th/data/batch.hpp"

#include "th/base/error.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace th::data {

void Batch::append(std::span<const std::int32_t> source_ids,
                   std::span<const std::int32_t> target_ids) {
  ++sentences;
  const auto add = [](std::vector<std::int32_t>& lengths, std::int64_t& longest,
                      std::int64_t& tokens, std::int64_t length) {
    lengths.push_back(static_cast<std::int32_t>(length));
    longest = std::max(longest, length);
    tokens += length;
  };
  add(source_lengths, source_length, source_tokens, std::ssize(source_ids));
  add(target_lengths, target_length, target_tokens,
      std::max<std::int64_t>(std::ssize(target_ids) - 1, 0));
  source.insert(source.end(), source_ids.begin(), source_ids.end());
  if (target_ids.empty()) return;
  target_in.insert(target_in.end(), target_ids.begin(), target_ids.end() - 1);
  target_out.insert(target_out.end(), target_ids.begin() + 1, target_ids.end());
}

std::vector<SentenceGroup> sentence_groups(std::span<const std::int32_t> source_lengths,
                                           std::span<const std::int32_t> target_lengths) {
  ensure(source_lengths.size() == target_lengths.size(),
         "sentence_groups: as many targets as sources");
  const auto longest = [](std::span<const std::int32_t> lengths) {
    return lengths.empty() ? std::int64_t{0}
                           : std::int64_t{*std::max_element(lengths.begin(), lengths.end())};
  };
  const auto padded = [](std::int64_t length, std::int64_t most) {
    return std::min((length + kGroupLength - 1) / kGroupLength * kGroupLength, most);
  };
  const std::int64_t most_source = longest(source_lengths), most_target = longest(target_lengths);
  std::vector<SentenceGroup> groups;
  const auto uniform = [](std::span<const std::int32_t> lengths) {
    return std::adjacent_find(lengths.begin(), lengths.end(), std::not_equal_to<>()) ==
           lengths.end();
  };
  if (!source_lengths.empty() && uniform(source_lengths) && uniform(target_lengths))
    return {{0, std::ssize(source_lengths), most_source, most_target}};
  for (std::int64_t first = 0; first < std::ssize(source_lengths); first += kGroupSentences) {
    const std::int64_t count = std::min(kGroupSentences, std::ssize(source_lengths) - first);
    const auto part = [&](std::span<const std::int32_t> lengths) {
      return longest(
          lengths.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
    };
    groups.push_back({first, count, padded(part(source_lengths), most_source),
                      padded(part(target_lengths), most_target)});
  }
  return groups;
}

BatchShape::BatchShape(std::vector<std::int32_t> source_lengths,
                       std::vector<std::int32_t> target_lengths)
    : source_lengths_(std::move(source_lengths)), target_lengths_(std::move(target_lengths)) {
  for (const std::int32_t length : source_lengths_) sizes_[kSourceRows] += length;
  for (const std::int32_t length : target_lengths_) sizes_[kTargetRows] += length;
  for (const SentenceGroup& g : sentence_groups(source_lengths_, target_lengths_)) {
    sizes_[kSourceCells] += g.sentences * g.source_length;
    sizes_[kTargetCells] += g.sentences * g.target_length;
    sizes_[kSourceScores] += g.sentences * g.source_length * g.source_length;
    sizes_[kTargetScores] += g.sentences * g.target_length * g.target_length;
    sizes_[kCrossScores] += g.sentences * g.target_length * g.source_length;
  }
}

BatchShape BatchShape::uniform(std::int64_t sentences, std::int64_t source_length,
                               std::int64_t target_length) {
  const auto count = static_cast<std::size_t>(sentences);
  return {std::vector<std::int32_t>(count, static_cast<std::int32_t>(source_length)),
          std::vector<std::int32_t>(count, static_cast<std::int32_t>(target_length))};
}

std::int64_t BatchShape::real_score_cells() const {
  std::int64_t cells = 0;
  for (std::size_t b = 0; b < source_lengths_.size(); ++b) {
    const std::int64_t s = source_lengths_[b], t = target_lengths_[b];
    cells += s * s + t * t + t * s;
  }
  return cells;
}

bool BatchShape::within(const BatchShape& other) const noexcept {
  for (std::size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i] > other.sizes_[i]) return false;
  }
  return true;
}

void keep_largest(std::vector<BatchShape>& shapes, const BatchShape& shape) {
  if (shape.sentences() == 0 || std::any_of(shapes.begin(), shapes.end(),
                                            [&](const BatchShape& s) { return shape.within(s); }))
    return;
  std::erase_if(shapes, [&](const BatchShape& s) { return s.within(shape); });
  shapes.push_back(shape);
}

}  // namespace th::data
