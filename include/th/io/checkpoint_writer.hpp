#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "th/io/checkpoint_info.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::io {

/// A named optimizer state: one rank's flat shard, shard_total() elements.
using NamedShard = std::pair<std::string, std::span<const float>>;

/// Writes folder/shard_NNNNN.h5 of `rank`: the real elements of its flat shard, no padding, a CRC32C a dataset, and fsyncs it.
/// Spans hold layout.shard_total() elements. Not collective; any thread. Throws CheckpointError.
void write_shard(const std::string& folder, std::int64_t rank, const zero::FlatLayout& layout, std::span<const float> parameters,
                 const std::vector<NamedShard>& optimizer_states);

/// Writes folder/model.h5, the view of the whole model over the shards, and fsyncs it. Rank 0 alone. Needs no shard to be there yet.
void write_model_file(const std::string& folder, const zero::FlatLayout& layout, const CheckpointInfo& info);

}  // namespace th::io
