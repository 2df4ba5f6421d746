#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "th/io/checkpoint/checkpoint_reader.hpp"

namespace th::io {

/// One rank's flat shard out of a checkpoint of any rank count, a unit at a time: nothing but the
/// caller's unit is in memory. The reader must outlive it. Not collective. Every failure is a
/// CheckpointError naming file or tensor.
class ShardReader {
 public:
  /// Throws where the checkpoint's tensors are not `layout`'s, explained tensor by tensor.
  ShardReader(const CheckpointReader& reader, const zero::FlatLayout& layout, std::int64_t rank);
  ~ShardReader();
  ShardReader(const ShardReader&) = delete;
  ShardReader& operator=(const ShardReader&) = delete;

  /// Fills `out` (the unit's `shard` elements) with this rank's slice of "parameters" or of a
  /// state; padding becomes 0. Where the units come in order and a file is so read from end to end,
  /// its CRC is checked at its end.
  void read_unit(const std::string& what, std::int64_t unit, std::span<float> out);

 private:
  const CheckpointReader& reader_;
  zero::FlatLayout layout_;
  std::vector<zero::FlatLayout::Piece> pieces_;
  std::map<std::string, std::unique_ptr<CheckpointReader::Files>> files_;
};

}  // namespace th::io
