#include "th/runtime/observe/signals.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>

namespace th::runtime {
namespace {

volatile std::sig_atomic_t stop_signal = 0;
volatile std::sig_atomic_t interrupts = 0;
volatile std::sig_atomic_t checkpoint_wanted = 0;

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

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
  for (const int number : {SIGTERM, SIGUSR1, SIGUSR2, SIGINT}) sigaction(number, &action, nullptr);
}

int StopSignals::stop_requested() noexcept { return stop_signal; }

bool StopSignals::take_checkpoint_request() noexcept {
  const bool wanted = checkpoint_wanted != 0;
  if (wanted) checkpoint_wanted = 0;
  return wanted;
}

Deadline::Deadline(double max_minutes) : start_(now()) {
  if (max_minutes > 0) {
    end_ = start_ + 60.0 * max_minutes;
  } else if (const char* text = std::getenv("SLURM_JOB_END_TIME"); text != nullptr) {
    char* rest = nullptr;
    const double value = std::strtod(text, &rest);
    if (rest != text && *rest == '\0' && value > 0) end_ = value;
  }
}

double Deadline::seconds_to_save() const {
  return end_ ? std::clamp(0.05 * (*end_ - start_), 0.0, 60.0) : 0;
}

std::optional<double> Deadline::seconds_left() const {
  if (!end_) return std::nullopt;
  return *end_ - now();
}

}  // namespace th::runtime
