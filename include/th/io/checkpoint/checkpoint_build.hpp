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

/// Fills `out` with elements [begin, begin + out.size()), in row-major order, of a tensor of
/// `kind`, which is "parameters" or a state's name.
using ElementSource = std::function<void(const std::string& kind, const std::string& tensor,
                                         std::int64_t begin, std::span<float> out)>;

inline constexpr std::int64_t kShardElements = std::int64_t{16} << 20;  ///< 64 MiB of fp32

/// Writes a whole checkpoint of info's tensors and states, with the values that `source` gives,
/// into the folder `output`, which gets its name when it is complete. Each shard has about
/// `shard_elements`, so memory is 64 MiB a kind whatever the model; info.world_size becomes the
/// number of shards. Throws CheckpointError, and DeckError if `output` exists and `existing`
/// refuses.
void build_checkpoint(const std::string& output, Existing existing, CheckpointInfo info,
                      const ElementSource& source, std::int64_t shard_elements = kShardElements);

/// Throws CheckpointError if names or shapes of a checkpoint are not those of a model. The message
/// says how many tokens differ and which is the first, then names each tensor that differs. Returns
/// the differences of tokenizers that have the same sizes, one a line. Not collective.
[[nodiscard]] std::string require_same_model(const CheckpointReader& reader,
                                             const zero::FlatLayout& layout,
                                             const data::SavedTokenizer& source,
                                             const data::SavedTokenizer& target);

}  // namespace th::io
