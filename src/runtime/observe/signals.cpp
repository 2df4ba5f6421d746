#include "th/runtime/observe/signals.hpp"

#include <csignal>
#include <cstring>

namespace th::runtime {
namespace {

volatile std::sig_atomic_t stop_signal = 0;
volatile std::sig_atomic_t interrupts = 0;
volatile std::sig_atomic_t checkpoint_wanted = 0;

}  // namespace

extern "C" {
static void th_on_signal(int number) {
  if (number == SIGUSR2) {
    checkpoint_wanted = 1;
    return;
  }
  if (number == SIGINT) {
    if (interrupts != 0) {
      std::signal(SIGINT, SIG_DFL);
      std::raise(SIGINT);
      return;
    }
    interrupts = 1;
  }
  if (stop_signal == 0) stop_signal = number;
}
}

void StopSignals::install() {
  struct sigaction action {};
  action.sa_handler = th_on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGTERM, SIGUSR1, SIGUSR2, SIGINT, SIGHUP, SIGXCPU})
    sigaction(number, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
}

int StopSignals::stop_requested() noexcept { return stop_signal; }

std::string StopSignals::name(int number) {
  const char* text = sigabbrev_np(number);
  return text != nullptr ? std::string("SIG") + text : "signal " + std::to_string(number);
}

bool StopSignals::take_checkpoint_request() noexcept {
  const bool wanted = checkpoint_wanted != 0;
  if (wanted) checkpoint_wanted = 0;
  return wanted;
}

}  // namespace th::runtime
