#pragma once

#include <cstdint>
#include <vector>

#include "th/data/batch.hpp"
#include "th/model/blocks/transformer.hpp"

namespace th::model {

/// Finds for each target token the source token that it attends to most, by one pass over given
/// targets (teacher forcing). That is the source position, from 0, with the largest weight of cross
/// attention in the last decoder layer, averaged over its heads, where the decoder writes the
/// token. The source's end is left out; ties go to the earlier position. Each sentence has
/// target_length - 1 entries, for all target ids but the end; -1 if a query of local attention sees
/// no token. With model.cross_downsample k, positions are multiples of k. Throws DeckError for
/// local cross attention on a processor without attention in one kernel. Not collective.
[[nodiscard]] std::vector<std::vector<std::int32_t>> align_targets(const Transformer& model,
                                                                   ParameterSource& source,
                                                                   const data::Batch& batch);

}  // namespace th::model
