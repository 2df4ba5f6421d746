#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// A key of the deck or the command line.
struct Origin {
  std::string where;  ///< `FILE:LINE` or `command line`
  bool given = true;  ///< false: it was set to nothing, which is as if it were not there
};
using Origins = std::map<std::string, Origin>;

/// What keys say together: contradictions go to `problems`, keys without effect in this run to
/// `warnings`. Nothing is said about a contradiction with a key in `unsure`, whose value is not
/// known because it was refused or its name mistyped.
void check(const RunConfig& config, const Origins& origins, const std::string& file,
           const std::set<std::string>& unsure, std::vector<std::string>& problems,
           std::vector<std::string>& warnings);

/// Gives keys that were not given the defaults that run.task has of its own.
void set_defaults_of_task(RunConfig& config, const Origins& origins);

}  // namespace th::config
