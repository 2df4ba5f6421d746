#pragma once

#include <span>
#include <string>
#include <vector>

namespace th::monitor {

/// Warnings of several ranks, for rank 0 to print: a line for each text, in the order in which they
/// are first met, with the ranks that have it and how often. `texts` has a list a rank, `hosts` a
/// name a rank.
[[nodiscard]] std::vector<std::string> gathered_warnings(
    std::span<const std::vector<std::string>> texts, std::span<const std::string> hosts);

}  // namespace th::monitor
