#include "application.hpp"
#include "th/base/error.hpp"
#include "th/base/leave.hpp"
#include "th/runtime/observe/signals.hpp"
#include "th/runtime/transport/launch.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

int act(int argc, char** argv) {
  // Before MPI and LibTorch: the default action of SIGUSR1 is death.
  th::runtime::StopSignals::install();
  try {
    const th::config::CommandLine line = th::config::parse_command_line(argc, argv);
    const bool collective = line.action == th::config::Action::kRun ||
                            line.action == th::config::Action::kSelfcheck ||
                            line.action == th::config::Action::kReplay;
    return collective ? th::app::run(line, argc, argv) : th::app::answer(line);
  } catch (const th::Error& error) {
    // Every rank of a launch fails alike here: one of them speaks.
    if (th::runtime::launcher_rank(
            [](const char* name) -> const char* { return std::getenv(name); }) == 0)
      std::fprintf(stderr, "error: %s\n", error.what());
    else
      th::runtime::wait_for_launcher();
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "internal error: %s\n", error.what());
    return static_cast<int>(th::ExitCode::kDiffers);
  }
}

}  // namespace

// mpirun -np N th_app DECK [section.key=value]…: train an encoder-decoder Transformer. See --help
// and docs/deck.md.
int main(int argc, char** argv) { th::leave(act(argc, argv)); }
