#include "th/model/memory/packed_rows.hpp"

#include "th/model/memory/tensors.hpp"

#include <numeric>

namespace th::model {

namespace {

template <typename T>
using Planned = runtime::PlannedVector<T>;

Planned<std::int64_t> offsets_of(std::span<const std::int32_t> lengths, bool planned) {
  Planned<std::int64_t> offsets{runtime::PlannedAllocator<std::int64_t>(planned)};
  offsets.reserve(lengths.size() + 1);
  offsets.push_back(0);
  for (const std::int32_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

std::span<const std::int32_t> targets_of(const data::Batch& batch, PackedRows::Sides sides) {
  if (sides == PackedRows::Sides::kSource) return {};
  return batch.target_lengths;
}

at::Tensor places_of(std::span<const std::int32_t> lengths, std::int64_t rows,
                     PackedRows::Places kind) {
  if (kind == PackedRows::Places::kLeftOut) return {};
  at::Tensor places = model::empty({rows}, at::TensorOptions().dtype(at::kInt));
  if (kind == PackedRows::Places::kMade) write_places(lengths, places.data_ptr<std::int32_t>());
  return places;
}

}  // namespace

void write_places(std::span<const std::int32_t> lengths, std::int32_t* to) {
  for (const std::int32_t length : lengths) {
    std::iota(to, to + length, 0);
    to += length;
  }
}

PackedRows::PackedRows(const data::Batch& batch, Places places, const AttentionCuts& cuts,
                       Sides sides)
    : planned_(places == Places::kShapesOnly),
      source_offsets_(offsets_of(batch.source_lengths, planned_)),
      target_offsets_(offsets_of(targets_of(batch, sides), planned_)),
      memory_rows_(runtime::PlannedAllocator<std::int64_t>(planned_)),
      memory_lengths_(batch.source_lengths.begin(), batch.source_lengths.end(),
                      runtime::PlannedAllocator<std::int32_t>(planned_)),
      source_places_(places_of(batch.source_lengths, batch.source_tokens, places)),
      target_places_(places_of(targets_of(batch, sides),
                               sides == Sides::kBoth ? batch.target_tokens : 0, places)) {
  const std::int64_t step = cuts.memory_step;
  if (step > 1) thin_memory(step);
  make_groups(batch, step, sides);
  source_blocks_ = attention_blocks(cuts.encoder, source_offsets_, source_offsets_, planned_);
  if (sides == Sides::kSource) return;
  target_blocks_ = attention_blocks(cuts.decoder, target_offsets_, target_offsets_, planned_);
  cross_blocks_ = attention_blocks(cuts.cross, target_offsets_, memory_offsets(), planned_);
}

void PackedRows::make_groups(const data::Batch& batch, std::int64_t step, Sides sides) {
  const bool both = sides == Sides::kBoth;
  const std::vector<std::int32_t> none(both ? 0 : batch.source_lengths.size(), 0);
  for (const data::SentenceGroup& g :
       data::sentence_groups(batch.source_lengths, both ? batch.target_lengths : none)) {
    source_groups_.push_back({g.first, g.sentences, g.source_length, g.source_length});
    if (!both) continue;
    target_groups_.push_back({g.first, g.sentences, g.target_length, g.target_length});
    cross_groups_.push_back(
        {g.first, g.sentences, g.target_length, (g.source_length + step - 1) / step});
  }
}

void PackedRows::thin_memory(std::int64_t step) {
  std::size_t count = 0;
  for (std::int32_t& length : memory_lengths_) {
    length = static_cast<std::int32_t>((length + step - 1) / step);
    count += static_cast<std::size_t>(length);
  }
  memory_rows_.reserve(count);
  for (std::size_t b = 0; b < memory_lengths_.size(); ++b) {
    for (std::int64_t i = 0; i < memory_lengths_[b]; ++i)
      memory_rows_.push_back(source_offsets_[b] + i * step);
  }
  memory_offsets_ = offsets_of(memory_lengths_, planned_);
}

}  // namespace th::model
