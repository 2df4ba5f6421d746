#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::io {

/// A named optimizer state: one rank's flat shard, shard_total() elements.
using NamedShard = std::pair<std::string, std::span<const float>>;

/// Writes folder/shard_NNNNN.h5 of one rank, a unit at a time: the real elements of its flat shard,
/// no padding, a CRC32C a dataset. Not collective; any thread. Everything throws CheckpointError. A
/// writer that is destroyed before finish() leaves a file that no reader accepts.
class ShardWriter {
 public:
  /// `info`: names of the states, and which are stored in bf16; their values are bf16's.
  ShardWriter(const std::string& folder, std::int64_t rank, const zero::FlatLayout& layout,
              const CheckpointInfo& info);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  /// This rank's slice of a unit (its `shard` elements, padding included) of "parameters" or of a
  /// state; the units of each in order from 0.
  void write_unit(const std::string& what, std::int64_t unit, std::span<const float> slice);
  /// Writes the checksums, closes and fsyncs. Every unit of everything must have been written.
  void finish();

 private:
  struct Shard;
  std::unique_ptr<Shard> shard_;
};

/// A whole shard file in one call. Spans hold layout.shard_total() elements. `short_states` are
/// stored in bf16.
void write_shard(const std::string& folder, std::int64_t rank, const zero::FlatLayout& layout,
                 std::span<const float> parameters, const std::vector<NamedShard>& optimizer_states,
                 const std::vector<std::string>& short_states = {});

/// Writes folder/model.h5, the view of the whole model over the shards, and fsyncs it. Rank 0
/// alone. Needs no shard to be there yet.
void write_model_file(const std::string& folder, const zero::FlatLayout& layout,
                      const CheckpointInfo& info);

}  // namespace th::io
