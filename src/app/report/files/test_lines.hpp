#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/report/files/deck_file.hpp"
#include "app/report/files/run_log.hpp"

namespace th::app {

struct TestLines {
  std::vector<Sample> first;  ///< the first lines, with source and reference where those are there
  std::int64_t count = 0;     ///< of all lines
};

/// Of a run's test.hyp, beside the deck's data.test_source and test_target where these are text
/// files that can still be read; a file that is missing gives none.
[[nodiscard]] TestLines read_test_lines(const std::string& path, const DeckFile& deck);

}  // namespace th::app
