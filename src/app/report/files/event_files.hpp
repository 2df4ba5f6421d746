#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "app/report/parts/series.hpp"

namespace th::app {

/// What the event files of TensorBoard say beside metrics.jsonl. Points that a later resume made
/// void are left out.
struct EventFiles {
  std::map<std::string, double> seconds;  ///< of all points of the curve time/NAME, by NAME
  Series memory;                          ///< memory/gib, of rank 0
  std::int64_t files = 0;
};

/// Reads tensorboard/events.out.tfevents.* of a folder once, in flat memory. A file that is damaged
/// or torn gives what stands before the damage; without files everything is empty.
[[nodiscard]] EventFiles read_event_files(const std::string& folder);

}  // namespace th::app
