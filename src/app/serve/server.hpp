#pragma once

#include "app/translate/request.hpp"

namespace th::app {

/// th_translate --serve SOCKET: answers requests of clients until a stop signal comes, batched
/// across clients; the exit code. Nothing that was accepted stays without an answer. Throws Error
/// before the first request.
[[nodiscard]] int serve(const Request& request);

}  // namespace th::app
