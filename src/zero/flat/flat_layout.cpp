#include "th/zero/flat_layout.hpp"

#include "th/base/error.hpp"

#include <algorithm>

namespace th::zero {

namespace {
constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
}  // namespace

FlatLayout::FlatLayout(std::vector<model::UnitSpec> units, std::int64_t ranks,
                       std::int64_t alignment)
    : ranks_(ranks), alignment_(alignment) {
  ensure(ranks >= 1, "FlatLayout: the rank count must be at least 1");
  ensure(alignment >= 1, "FlatLayout: the alignment must be at least 1");
  for (model::UnitSpec& spec : units) {
    Unit unit;
    unit.name = std::move(spec.name);
    unit.first_tensor = static_cast<std::int64_t>(tensors_.size());
    unit.tensor_count = static_cast<std::int64_t>(spec.tensors.size());
    std::int64_t at = 0;
    for (model::TensorSpec& tensor : spec.tensors) {
      Tensor placed;
      placed.count = tensor.count();
      placed.spec = std::move(tensor);
      placed.unit = static_cast<std::int64_t>(units_.size());
      placed.offset = at;
      at = round_up(at + placed.count, alignment);
      parameter_count_ += placed.count;
      tensors_.push_back(std::move(placed));
    }
    unit.content = round_up(at, kBlock);
    unit.padded = round_up(at, kBlock * ranks);
    unit.shard = unit.padded / ranks;
    unit.offset = padded_total_;
    unit.shard_offset = padded_total_ / ranks;
    unit.first_block = block_total_;
    padded_total_ += unit.padded;
    block_total_ += unit.content / kBlock;
    largest_unit_ = std::max(largest_unit_, unit.padded);
    units_.push_back(std::move(unit));
  }
}

std::vector<FlatLayout::Piece> FlatLayout::pieces(std::int64_t rank) const {
  std::vector<Piece> out;
  for (const Unit& unit : units_) {
    const std::int64_t begin = unit.shard * rank;
    const std::int64_t end = begin + unit.shard;
    for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
      const Tensor& tensor = tensors_[static_cast<std::size_t>(t)];
      const std::int64_t lo = std::max(begin, tensor.offset);
      const std::int64_t hi = std::min(end, tensor.offset + tensor.count);
      if (lo >= hi) continue;
      out.push_back({t, lo - tensor.offset, hi - lo, unit.shard_offset + lo - begin});
    }
  }
  return out;
}

}  // namespace th::zero
