#pragma once

#include <string>

namespace th::runtime {

/// Signals as requests. SIGTERM, SIGUSR1, SIGINT, SIGHUP and SIGXCPU ask to stop with a checkpoint;
/// a second SIGINT ends the process at once. SIGUSR2 asks for a checkpoint. SIGXFSZ is ignored, so
/// that a write beyond a file's size limit fails with an error.
class StopSignals {
 public:
  /// Installs the handlers. Call it first in main, before MPI_Init and LibTorch.
  static void install();
  /// The first stop signal's number, 0 while there is none.
  [[nodiscard]] static int stop_requested() noexcept;
  /// "SIGTERM" for 15; "signal 64" for those without a name of their own.
  [[nodiscard]] static std::string name(int number);
  /// Whether SIGUSR2 came since the last call.
  [[nodiscard]] static bool take_checkpoint_request() noexcept;
};

}  // namespace th::runtime
