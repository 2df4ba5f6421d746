#pragma once

#include <memory>

#include "th/runtime/collectives.hpp"
#include "th/runtime/watchdog.hpp"

namespace th::runtime {

/// The same collectives with every call announced to the watchdog, which names the missing rank when a call does not end in time.
/// Both outlive the result.
[[nodiscard]] std::unique_ptr<Collectives> make_watched_collectives(Collectives& inner, Watchdog& watchdog);

}  // namespace th::runtime
