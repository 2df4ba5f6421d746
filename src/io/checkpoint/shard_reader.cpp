#include "th/io/checkpoint/shard_reader.hpp"

#include <algorithm>

#include "io/checkpoint/shard_files.hpp"
#include "th/base/error.hpp"
#include "th/io/hdf5.hpp"

namespace th::io {

ShardReader::ShardReader(const CheckpointReader& reader, const zero::FlatLayout& layout,
                         std::int64_t rank)
    : reader_(reader), layout_(layout), pieces_(layout_.pieces(rank)) {
  reader_.require_same_tensors(layout_);
}

ShardReader::~ShardReader() {
  const Hdf5Lock lock;
  files_.clear();
}

void ShardReader::read_unit(const std::string& what, std::int64_t unit, std::span<float> out) {
  const zero::FlatLayout::Unit& u = layout_.units().at(static_cast<std::size_t>(unit));
  ensure(std::ssize(out) == u.shard, "ShardReader: a unit's buffer has the wrong size");
  const Hdf5Lock lock;
  auto& files = files_[what];
  if (!files) files = std::make_unique<CheckpointReader::Files>(reader_, what);
  std::int64_t filled = 0;  // padding lies between the pieces
  const auto pad_to = [&](std::int64_t end) {
    std::fill(out.begin() + filled, out.begin() + end, 0.0F);
    filled = end;
  };
  for (const auto& piece : pieces_) {
    const zero::FlatLayout::Tensor& tensor =
        layout_.tensors()[static_cast<std::size_t>(piece.tensor)];
    if (tensor.unit != unit) continue;
    const std::int64_t begin = piece.shard_offset - u.shard_offset;
    pad_to(begin);
    reader_.read_range(
        *files, reader_.tensor_index(tensor.spec.name), piece.tensor_begin,
        out.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(piece.count)));
    filled = begin + piece.count;
  }
  pad_to(u.shard);
}

}  // namespace th::io
