#pragma once

#include <span>
#include <string>
#include <vector>

namespace th::monitor {

/// Lines that rank 0 prints for the warnings of several ranks. There is one line for each text, in
/// the order in which the texts first appear, with the ranks that have it and how often. `texts`
/// has a list for each rank, `hosts` a name.
[[nodiscard]] std::vector<std::string> gathered_warnings(
    std::span<const std::vector<std::string>> texts, std::span<const std::string> hosts);

}  // namespace th::monitor
