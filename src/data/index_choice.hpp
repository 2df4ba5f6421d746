#pragma once

#include <memory>
#include <string>

#include "data/encoding.hpp"
#include "th/data/index/index_file.hpp"

namespace th::data {

/// Why a part of an index is not the deck's; empty: it is, as far as names, sizes and times tell.
/// `given`: tokenizers that it must have, whatever keys made them; empty: those of the keys.
[[nodiscard]] std::string why_not_usable(const IndexFile& index, Part part,
                                         const config::DataSection& data, bool joint_vocabulary,
                                         const TokenizerPair& given);

/// Both of an index; one object where it has one.
[[nodiscard]] TokenizerPair tokenizers_of(const IndexFile& index);

}  // namespace th::data
