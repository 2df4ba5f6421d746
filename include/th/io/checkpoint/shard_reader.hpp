#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "th/io/checkpoint/checkpoint_reader.hpp"

namespace th::io {

/// Reads one rank's flat shard from a checkpoint of any rank count, a unit at a time, so only the
/// caller's unit is in memory. The reader must outlive it. Not collective. Every failure is a
/// CheckpointError that names file or tensor.
class ShardReader {
 public:
  /// Throws if the checkpoint's tensors are not those of `layout`; the message explains it tensor
  /// by tensor.
  ShardReader(const CheckpointReader& reader, const zero::FlatLayout& layout, std::int64_t rank);
  ~ShardReader();
  ShardReader(const ShardReader&) = delete;
  ShardReader& operator=(const ShardReader&) = delete;

  /// Fills `out` (the unit's `shard` elements) with this rank's slice of "parameters" or of a
  /// state; padding becomes 0. If the units come in order, so that a file is read from end to end,
  /// its CRC is checked at its end.
  void read_unit(const std::string& what, std::int64_t unit, std::span<float> out);

 private:
  const CheckpointReader& reader_;
  zero::FlatLayout layout_;
  std::vector<zero::FlatLayout::Piece> pieces_;
  std::map<std::string, std::unique_ptr<CheckpointReader::Files>> files_;
};

}  // namespace th::io
