#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {

/// The tokens of kPad, kUnknown, kBegin and kEnd, at their ids.
inline constexpr std::array<const char*, 4> kSpecialTokens = {"<pad>", "<unk>", "<s>", "</s>"};

/// The ids of a line that stand for text: those before the first end, without padding and begin.
/// Throws DataError for an id outside of a vocabulary of `size` tokens.
inline std::vector<std::int32_t> text_ids(std::span<const std::int32_t> ids, std::int64_t size) {
  std::vector<std::int32_t> text;
  for (const std::int32_t id : ids) {
    if (id == kEnd) break;
    if (id == kPad || id == kBegin) continue;
    if (id < 0 || id >= size)
      throw DataError("vocabulary: id " + std::to_string(id) + " is outside of " +
                      std::to_string(size) + " tokens");
    text.push_back(id);
  }
  return text;
}

}  // namespace th::data
