#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "th/runtime/device/device.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// Hashes of one computation of a slot. If two computations have equal hashes they gave the same
/// bits.
struct SlotHashes {
  std::uint64_t loss = 0;  ///< the bits of the loss
  /// Hashes of the gradients as they are sent: one for each unit, then one for each rank, of the
  /// slices that go to it. Empty: this rank did not compute the slot.
  std::vector<std::uint64_t> gradients;
  friend bool operator==(const SlotHashes&, const SlotHashes&) = default;
};

/// What a rank found about the slot that a step audits.
struct AuditedSlot {
  SlotHashes computed;  ///< in its round, on the rank that has it
  std::uint64_t arrived =
      0;  ///< hash of the slices that this rank received as the owner of its shards
};

/// Hashes what an audit compares of one slot of a step (run.audit_steps): its gradients where they
/// were made, and the slices that arrived. Host memory is hashed in place; memory of a device is
/// copied to the host piece by piece. Not collective.
class SlotAudit {
 public:
  /// All outlive the result. Allocates by EngineBuffers::audit.
  [[nodiscard]] static std::unique_ptr<SlotAudit> make(runtime::Device& device,
                                                       const FlatLayout& layout,
                                                       const EngineBuffers& buffers);
  virtual ~SlotAudit() = default;
  SlotAudit(const SlotAudit&) = delete;
  SlotAudit& operator=(const SlotAudit&) = delete;

  /// Begins a step that audits this slot; nothing of the slot has been computed.
  void begin(std::int64_t slot);
  /// Begins a step that audits no slot.
  void leave() noexcept { slot_ = kNone; }
  [[nodiscard]] bool on() const noexcept { return slot_ != kNone; }
  [[nodiscard]] std::int64_t slot() const noexcept { return slot_; }
  /// Whether the audited slot belongs to a round, or to the rank `of` in it.
  [[nodiscard]] bool in_round(std::int64_t round) const noexcept;
  [[nodiscard]] bool is_of(std::int64_t round, std::int64_t of) const noexcept {
    return in_round(round) && slot_ % layout_.ranks() == of;
  }

  /// Which pass begins: one of the step's own, or the second computation on one rank.
  enum class Pass { kOther, kOwn, kAgain, kAgainElsewhere };
  void enter(Pass pass);
  /// Whether this rank computes the audited slot now.
  [[nodiscard]] bool computes() const noexcept {
    return pass_ == Pass::kOwn || pass_ == Pass::kAgain;
  }
  /// Whether the gradients of this pass are only hashed.
  [[nodiscard]] bool again() const noexcept {
    return pass_ == Pass::kAgain || pass_ == Pass::kAgainElsewhere;
  }
  /// Hashes a unit's gradient of the reduced type, which compute has made.
  void add(std::int64_t unit, const std::byte* gradient);
  /// The hashes of what was added in this pass; without the loss.
  [[nodiscard]] const SlotHashes& made() const noexcept { return made_; }

  /// Called within a task of `communication`: hashes this rank's slice of the audited slot's
  /// gradient of a unit, as it came from the rank that made it.
  virtual void arrives(runtime::Stream& communication, std::int64_t unit, const void* slice) = 0;
  /// The hash of everything that arrived; call it after that stream was waited for.
  [[nodiscard]] virtual std::uint64_t arrived() = 0;

  /// The hash of memory of the device, after what compute holds; waits.
  [[nodiscard]] virtual std::uint64_t hash(const void* memory, std::int64_t bytes) = 0;

 protected:
  SlotAudit(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers);
  /// Nothing has arrived.
  virtual void clear_arrivals() = 0;
  [[nodiscard]] std::int64_t slice_bytes(std::int64_t unit) const;

  runtime::Device& device_;
  const FlatLayout& layout_;
  std::int64_t element_;  ///< bytes of one of the reduced type

 private:
  static constexpr std::int64_t kNone = -1;

  std::int64_t slot_ = kNone;
  Pass pass_ = Pass::kOther;
  SlotHashes made_;
};

}  // namespace th::zero
