#include "th/model/memory/packed_rows.hpp"

#include "th/model/memory/tensors.hpp"

#include <numeric>

namespace th::model {

namespace {

std::vector<std::int64_t> offsets_of(std::span<const std::int32_t> lengths) {
  std::vector<std::int64_t> offsets{0};
  offsets.reserve(lengths.size() + 1);
  for (const std::int32_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
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

PackedRows::PackedRows(const data::Batch& batch, Places places)
    : source_offsets_(offsets_of(batch.source_lengths)),
      target_offsets_(offsets_of(batch.target_lengths)),
      source_places_(places_of(batch.source_lengths, batch.source_tokens, places)),
      target_places_(places_of(batch.target_lengths, batch.target_tokens, places)) {
  for (const data::SentenceGroup& g :
       data::sentence_groups(batch.source_lengths, batch.target_lengths)) {
    source_groups_.push_back({g.first, g.sentences, g.source_length, g.source_length});
    target_groups_.push_back({g.first, g.sentences, g.target_length, g.target_length});
    cross_groups_.push_back({g.first, g.sentences, g.target_length, g.source_length});
  }
}

}  // namespace th::model
