#include "th/io/failure_point.hpp"

#include <atomic>
#include <charconv>
#include <csignal>
#include <string>

#include "th/base/error.hpp"

namespace th::io {
namespace {

struct Armed {
  std::atomic<std::int64_t> nth{0}, passed{0};  // nth 0: not armed
  std::atomic<FailurePoint::Action> action{FailurePoint::Action::kThrow};
};

Armed& armed() noexcept {
  static Armed state;
  return state;
}

}  // namespace

void FailurePoint::arm(std::int64_t nth, Action action) noexcept {
  armed().passed = 0;
  armed().action = action;
  armed().nth = nth;
}

void FailurePoint::disarm() noexcept { armed().nth = 0; }

std::int64_t FailurePoint::passed() noexcept { return armed().passed; }

void FailurePoint::arm_from(const char* value, std::int64_t rank) {
  const std::string text = value == nullptr ? "" : value;
  if (text.empty()) return;
  std::int64_t nth = 0, victim = 0;
  const char* const end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, nth);
  std::string tail(rest, end);
  const Action action = tail.rfind(":kill", 0) == 0 ? Action::kKill : Action::kThrow;
  if (action == Action::kKill) tail.erase(0, 5);
  bool readable = error == std::errc() && nth > 0 && (tail.empty() || tail[0] == '@');
  if (readable && !tail.empty()) {
    const auto [last, wrong] = std::from_chars(tail.data() + 1, tail.data() + tail.size(), victim);
    readable = wrong == std::errc() && last == tail.data() + tail.size();
  }
  if (!readable)
    throw DeckError("TH_FAIL_SAVE is " + text + "; it is N[:kill][@RANK], with N from 1");
  if (victim == rank) arm(nth, action);
}

void FailurePoint::pass(const char* place) {
  const std::int64_t nth = armed().nth.load(std::memory_order_relaxed);
  if (nth == 0 || ++armed().passed != nth) return;
  if (armed().action == Action::kKill) (void)std::raise(SIGKILL);
  throw CheckpointError("failure point " + std::to_string(nth) + ", " + place +
                        " (asked for by a test)");
}

}  // namespace th::io
