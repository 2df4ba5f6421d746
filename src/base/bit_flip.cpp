#include "th/base/bit_flip.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

#include <array>
#include <atomic>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

namespace th {

namespace {

constexpr std::array<std::pair<std::string_view, BitFlip::Place>, 5> kPlaces{
    {{"weights", BitFlip::Place::kWeights},
     {"activations", BitFlip::Place::kActivations},
     {"gradient", BitFlip::Place::kGradient},
     {"message", BitFlip::Place::kMessage},
     {"copy", BitFlip::Place::kCopy}}};

/// All but `armed` belongs to the thread that computes.
struct Flip {
  std::atomic<bool> armed = false;
  BitFlip::Plan plan;
  bool computing = false;
  std::int64_t times = 0;   ///< that an audited slot was computed here, or steps of kCopy
  std::int64_t passed = 0;  ///< places of the plan's kind in this computation
};

Flip& flip_state() noexcept {
  static Flip state;
  return state;
}

/// The number at the beginning of `text`, which goes; false: there is none.
template <typename Number>
bool take_number(std::string_view& text, Number& out) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return true;
}

bool read_plan(std::string_view text, BitFlip::Plan& plan, std::int64_t& victim) {
  bool known = false;
  for (const auto& [name, place] : kPlaces) {
    if (known || !text.starts_with(name)) continue;
    known = true;
    plan.place = place;
    text.remove_prefix(name.size());
  }
  const auto follows = [&text](char mark) {
    const bool there = text.starts_with(mark);
    if (there) text.remove_prefix(1);
    return there;
  };
  if (!known) return false;
  if (follows(':')) {
    if (!take_number(text, plan.nth) || plan.nth < 1) return false;
    if (follows(':') && !take_number(text, plan.draw)) return false;
  }
  if (follows('@') && !take_number(text, victim)) return false;
  return text.empty();
}

}  // namespace

void BitFlip::arm(const Plan& plan) noexcept {
  Flip& state = flip_state();
  state.plan = plan;
  state.times = state.passed = 0;
  state.computing = false;
  state.armed = true;
}

void BitFlip::disarm() noexcept { flip_state().armed = false; }

bool BitFlip::armed() noexcept { return flip_state().armed.load(std::memory_order_relaxed); }

void BitFlip::arm_from(const char* text, std::int64_t rank) {
  const std::string_view value = text == nullptr ? "" : text;
  if (value.empty()) return;
  Plan plan;
  std::int64_t victim = 0;
  if (!read_plan(value, plan, victim))
    throw DeckError("TH_FLIP_BIT is " + std::string(value) +
                    "; it is PLACE[:N[:DRAW]][@RANK] with PLACE weights, activations, gradient, "
                    "message or copy, and N from 1");
  if (victim == rank) arm(plan);
}

BitFlip::Computing::Computing(bool audited) noexcept {
  if (!audited || !armed()) return;
  Flip& state = flip_state();
  state.computing = true;
  state.passed = 0;
  if (state.plan.place != Place::kCopy) ++state.times;
}

BitFlip::Computing::~Computing() {
  if (armed()) flip_state().computing = false;
}

bool BitFlip::here(Place place, std::int64_t choices) noexcept {
  if (!armed()) return false;
  Flip& state = flip_state();
  if (state.plan.place != place) return false;
  if (place == Place::kCopy) {
    ++state.times;
  } else if (!state.computing) {
    return false;
  }
  const auto drawn =
      static_cast<std::int64_t>(mix64(state.plan.draw) % static_cast<std::uint64_t>(choices));
  if (state.times != state.plan.nth || state.passed++ != drawn) return false;
  state.armed = false;
  return true;
}

std::uint64_t BitFlip::draw() noexcept { return flip_state().plan.draw; }

void BitFlip::flip(std::span<std::byte> bytes) noexcept {
  if (bytes.empty()) return;
  const std::uint64_t at = hash_pair(draw(), bytes.size()) % (bytes.size() * 8);
  bytes[at / 8] ^= std::byte{1} << static_cast<int>(at % 8);
}

}  // namespace th
