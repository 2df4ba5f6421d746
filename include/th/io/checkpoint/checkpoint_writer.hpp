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

/// Writes folder/shard_NNNNN.h5 of one rank, a unit at a time. The file has the elements of the
/// rank's flat shard without padding, and a CRC32C for each dataset. Not collective; any thread may
/// use it. All members throw CheckpointError. A writer that is destroyed before finish() leaves a
/// file that no reader accepts.
class ShardWriter {
 public:
  /// `info` says the names of the states, and which are stored in bf16; the values of those must be
  /// bf16 values.
  ShardWriter(const std::string& folder, std::int64_t rank, const zero::FlatLayout& layout,
              const CheckpointInfo& info);
  ~ShardWriter();
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  /// Writes this rank's slice of a unit (its `shard` elements, padding included) of "parameters" or
  /// of a state. The units of each come in order from 0.
  void write_unit(const std::string& what, std::int64_t unit, std::span<const float> slice);
  /// Writes the checksums, closes and fsyncs. All units of parameters and states must have been
  /// written.
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
/// alone. The shards may still be missing.
void write_model_file(const std::string& folder, const zero::FlatLayout& layout,
                      const CheckpointInfo& info);

}  // namespace th::io
