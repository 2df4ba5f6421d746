#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace th {

/// A testing aid for audits (run.audit_steps), as io::FailurePoint is one for saves: one bit of one
/// rank flips where an audit has to find it. Not armed, a place costs one load of an atomic. One
/// for the process, because the places are in the model, the engine and the trainer. Those places
/// are passed by the thread that computes; gradients, messages and copies flip in host memory
/// alone.
class BitFlip {
 public:
  enum class Place {
    kWeights,      ///< of a matrix, as the model reads it while it computes an audited slot
    kActivations,  ///< what a block gives to the next one there
    kGradient,     ///< a unit's gradient that was made there
    kMessage,      ///< the same on its way to its owners; of a slot computed again, its hash
    kCopy,         ///< the rank's copy of the parameters, for good
  };
  struct Plan {
    Place place = Place::kWeights;
    /// The nth time that this rank computes an audited slot; of kCopy the nth step. From 1.
    std::int64_t nth = 1;
    std::uint64_t draw = 0;  ///< which of its places, and which bit
  };
  static void arm(const Plan& plan) noexcept;
  static void disarm() noexcept;
  /// Arms by `text`, the value of TH_FLIP_BIT: "PLACE[:N[:DRAW]][@RANK]" with PLACE weights,
  /// activations, gradient, message or copy, for RANK (default 0) alone. Null or empty: nothing.
  /// Throws DeckError where it can't be read.
  static void arm_from(const char* text, std::int64_t rank);
  /// Whether it is armed and has not flipped.
  [[nodiscard]] static bool armed() noexcept;

  /// While it lives this rank computes an audited slot.
  class Computing {
   public:
    explicit Computing(bool audited) noexcept;
    ~Computing();
    Computing(const Computing&) = delete;
    Computing& operator=(const Computing&) = delete;
  };
  /// Whether the bit flips at this place: of the places of its kind that a computation passes it is
  /// one of the first `choices`, by the draw. True once.
  [[nodiscard]] static bool here(Place place, std::int64_t choices = 1) noexcept;
  [[nodiscard]] static std::uint64_t draw() noexcept;
  /// Flips the drawn bit of these.
  static void flip(std::span<std::byte> bytes) noexcept;
};

}  // namespace th
