#pragma once

#include <string>

namespace th::runtime {

/// Signals as requests. SIGTERM, SIGUSR1, SIGINT, SIGHUP, SIGXCPU: stop with a checkpoint; a second
/// SIGINT ends the process at once. SIGUSR2: checkpoint. SIGXFSZ is ignored, so that a file that
/// grows beyond its limit is an error of the write.
class StopSignals {
 public:
  /// Installs the handlers: first in main, before MPI_Init and LibTorch.
  static void install();
  /// The first stop signal's number, 0 while there is none.
  [[nodiscard]] static int stop_requested() noexcept;
  /// "SIGTERM" for 15; "signal 64" for those without a name of their own.
  [[nodiscard]] static std::string name(int number);
  /// Whether SIGUSR2 came since the last call.
  [[nodiscard]] static bool take_checkpoint_request() noexcept;
};

}  // namespace th::runtime
