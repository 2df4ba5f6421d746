#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace th {

/// A testing aid for audits (run.audit_steps), as io::FailurePoint is one for saves: it flips one
/// bit of one rank at a point where an audit must find it. While it is not armed, such a point
/// costs one load of an atomic. There is one for the process, because the points are in the model,
/// the engine and the trainer. Only the thread that computes passes them. Gradients, messages and
/// copies flip in host memory alone.
class BitFlip {
 public:
  enum class Place {
    kWeights,      ///< of a matrix, as the model reads it while it computes an audited slot
    kActivations,  ///< what a block of that slot gives to the next block
    kGradient,     ///< a unit's gradient of that slot
    kMessage,      ///< that gradient as it is sent to its owners; its hash where a slot is computed
                   ///< again
    kCopy,         ///< the rank's copy of the parameters, which stays wrong
  };
  struct Plan {
    Place place = Place::kWeights;
    /// Flips the nth time that this rank computes an audited slot, of kCopy in the nth step.
    /// From 1.
    std::int64_t nth = 1;
    std::uint64_t draw = 0;  ///< chooses among the points of a kind, and the bit
  };
  static void arm(const Plan& plan) noexcept;
  static void disarm() noexcept;
  /// Arms by `text`, the value of TH_FLIP_BIT: "PLACE[:N[:DRAW]][@RANK]" with PLACE weights,
  /// activations, gradient, message or copy, for RANK (default 0) alone. Null or empty text arms
  /// nothing. Throws DeckError where the text can't be read.
  static void arm_from(const char* text, std::int64_t rank);
  /// Whether it is armed and has not flipped.
  [[nodiscard]] static bool armed() noexcept;

  /// While an object of this class lives, this rank computes an audited slot.
  class Computing {
   public:
    explicit Computing(bool audited) noexcept;
    ~Computing();
    Computing(const Computing&) = delete;
    Computing& operator=(const Computing&) = delete;
  };
  /// Whether the bit flips at this point. The draw chooses one of the first `choices` points of its
  /// kind that a computation passes. Returns true once.
  [[nodiscard]] static bool here(Place place, std::int64_t choices = 1) noexcept;
  [[nodiscard]] static std::uint64_t draw() noexcept;
  /// Flips the drawn bit of these.
  static void flip(std::span<std::byte> bytes) noexcept;
};

}  // namespace th
