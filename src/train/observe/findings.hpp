#pragma once

#include <optional>
#include <string>
#include <vector>

#include "th/train/observe/verdict.hpp"

namespace th::train {

/// A part of the time that is worth a change, and which.
struct Finding {
  double share = 0;
  std::string text;
};

/// Parts below this are not worth one.
inline constexpr double kWorthAChange = 0.1;

[[nodiscard]] std::string percent(double share);

/// What the ranks wait for each other, and for whom. `share`: of a step.
[[nodiscard]] Finding waiting_finding(const TimeUse& use, const RunFacts& facts, double share);
[[nodiscard]] Finding data_finding(const RunFacts& facts, double share);
[[nodiscard]] Finding communication_finding(const RunFacts& facts, double share);
/// Padding, where it is known. `share`: compute's of a step.
[[nodiscard]] Finding padding_finding(const RunFacts& facts, double share);
/// Validation and saves. Shares of the run's time.
[[nodiscard]] std::vector<Finding> findings_beside_steps(const TimeUse& use, const RunFacts& facts);
/// What is neither compute nor waiting nor communication, of steps of so many seconds.
[[nodiscard]] Finding other_finding(const RunFacts& facts, double share, double seconds);
/// Where no other part is worth a change. `share`: compute's of a step.
[[nodiscard]] std::string compute_text(const RunFacts& facts, double share);

}  // namespace th::train
