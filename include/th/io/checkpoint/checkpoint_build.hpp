#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/io/checkpoint/output.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::io {

/// Gives elements [begin, begin + out.size()) of a tensor ("parameters" or a state's name), in
/// row-major order.
using ElementSource = std::function<void(const std::string& kind, const std::string& tensor,
                                         std::int64_t begin, std::span<float> out)>;

inline constexpr std::int64_t kShardElements = std::int64_t{16} << 20;  ///< 64 MiB of fp32

/// Writes a whole checkpoint of info's tensors and states into the folder `output` (temporary until
/// it is complete), with the values that `source` gives. There are as many shards as keep each at
/// about `shard_elements`, so memory is 64 MiB a kind whatever the model; info.world_size becomes
/// their number. Throws CheckpointError; DeckError where `output` is taken and `existing` refuses.
void build_checkpoint(const std::string& output, Existing existing, CheckpointInfo info,
                      const ElementSource& source, std::int64_t shard_elements = kShardElements);

/// Throws CheckpointError where names or shapes of a checkpoint are not those of a model: how many
/// tokens differ and which is the first, then tensor by tensor. Returns what tokenizers of the same
/// sizes differ in, a line each; empty where they are the same. Not collective.
[[nodiscard]] std::string require_same_model(const CheckpointReader& reader,
                                             const zero::FlatLayout& layout,
                                             const data::SavedTokenizer& source,
                                             const data::SavedTokenizer& target);

}  // namespace th::io
