#pragma once

#include <string>
#include <vector>

#include "th/data/tokenizer/text_walk.hpp"

namespace th::data::test {

/// The lines, which have to outlive the walk.
inline TextWalk walk_of(const std::vector<std::string>& lines) {
  return [&lines](const LineVisitor& take) {
    for (const std::string& line : lines) take(line);
  };
}

}  // namespace th::data::test
