#pragma once

#include <cstdint>

#include "th/base/error.hpp"

namespace th::zero {

/// Where the step of an engine stands. Each transition checks the state that it leaves.
class StepProgress {
 public:
  enum class State {
    kNone,          ///< no step has begun
    kBegun,         ///< no round of it was computed
    kAccumulating,  ///< rounds are missing
    kAccumulated,   ///< every round was computed
    kEnded          ///< its end was enqueued
  };
  explicit StepProgress(std::int64_t rounds) : rounds_(rounds) {}

  /// From any state: a step may be given up before its end.
  void begin() noexcept {
    round_ = 0;
    state_ = State::kBegun;
  }
  /// A round was computed.
  void finish_round() {
    require_rounds();
    state_ = ++round_ == rounds_ ? State::kAccumulated : State::kAccumulating;
  }
  /// The step's end is enqueued.
  void end() {
    ensure(state_ == State::kAccumulated, "ZeroEngine: the end of a step before its last round");
    state_ = State::kEnded;
  }
  /// A round may follow.
  void require_rounds() const {
    ensure(state_ == State::kBegun || state_ == State::kAccumulating,
           "ZeroEngine: more rounds than the step has");
  }

  [[nodiscard]] bool begun() const noexcept { return state_ == State::kBegun; }
  [[nodiscard]] bool accumulated() const noexcept { return state_ == State::kAccumulated; }
  /// Rounds that were computed: the number of the next one.
  [[nodiscard]] std::int64_t round() const noexcept { return round_; }
  [[nodiscard]] std::int64_t rounds() const noexcept { return rounds_; }

 private:
  std::int64_t rounds_;
  std::int64_t round_ = 0;
  State state_ = State::kNone;
};

}  // namespace th::zero
