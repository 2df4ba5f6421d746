#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "th/zero/slot_audit.hpp"
#include "th/zero/step.hpp"
#include "zero/roles/engine_frame.hpp"

namespace th::zero {

/// Where gradients are made, and their sum over the slots. Exact: the slots are added in a binary
/// tree over their numbers, shard by shard. Fast: the transport adds, in its own order.
class GradientReducer {
 public:
  /// `audit`: hashes what arrives of an audited slot, or null. `norms`: where an exact reduction
  /// leaves the sums of squares of this rank's blocks, or null. All outlive the result. Collective.
  [[nodiscard]] static std::unique_ptr<GradientReducer> make(const EngineFrame& frame,
                                                             SlotAudit* audit, double* norms);
  virtual ~GradientReducer() = default;
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Where a unit's gradient will be made, fp32: compute waits until it is free.
  [[nodiscard]] float* open(std::int64_t unit);
  /// Zeroes it but for what products write first; nothing where it adds to earlier rounds.
  void clear(std::int64_t unit, const SlotPass& pass);
  /// The gradient is complete: in the reduction type it is ready for reduce(), or for drop().
  void close(std::int64_t unit);
  /// Enqueues its reduction; the point behind it.
  runtime::Event reduce(std::int64_t unit, const SlotPass& pass);
  /// Nothing is reduced of it: it belongs to no step, or later rounds are added to it.
  void drop(std::int64_t unit);
  /// Whether a pass finds the sum of earlier rounds, to add to.
  [[nodiscard]] bool adds(const SlotPass& pass) const noexcept {
    return adds_over_rounds() && pass.round > 0;
  }
  /// Whether the gradients of a step's rounds are added before they are reduced, in the last one.
  [[nodiscard]] virtual bool adds_over_rounds() const noexcept = 0;

  /// A closed gradient of the reduction type, as it is sent.
  [[nodiscard]] std::byte* sent(std::int64_t unit) const;
  /// This rank's shard of the sum, reduction type.
  [[nodiscard]] std::byte* reduced(std::int64_t unit) const;
  /// All shards of a unit side by side: where gradients are not sharded.
  [[nodiscard]] std::byte* whole(std::int64_t unit) const;
  /// The transport's buffer of gradients, in which others may work between steps.
  [[nodiscard]] runtime::TransportBuffer& buffer() const { return *gradients_; }
  /// The memory of a unit's gradient is read until `event`.
  void read_until(std::int64_t unit, const runtime::Event& event);

 protected:
  explicit GradientReducer(const EngineFrame& frame);
  /// On the communication stream: the sum of what lies at `offset` of the buffer, made in a pass.
  virtual void sum(std::int64_t unit, std::int64_t offset, std::int64_t pass) = 0;
  /// What sum() does with the gradient of a pass, and where it writes norms.
  [[nodiscard]] virtual runtime::Access::Kind access(std::int64_t pass) const noexcept = 0;
  [[nodiscard]] virtual runtime::Access norms_of(std::int64_t /*unit*/) const { return {}; }

  const EngineFrame& frame_;

 private:
  /// Of a unit's gradient in this rank's memory.
  enum class State { kNone, kMade, kComplete };
  /// The named transition from one state to the next, checked.
  void go(std::int64_t unit, State from, State to);
  /// Takes the unit's next place, when nobody reads there any more.
  void take_place(std::int64_t unit);
  [[nodiscard]] float* made(std::int64_t unit) const;

  std::unique_ptr<runtime::TransportBuffer> gradients_;  ///< whole, or of the units in flight
  runtime::DeviceBlock made_;    ///< fp32: units in flight, where the reduction type is shorter
  runtime::DeviceBlock shards_;  ///< reduction type: where gradients are sharded
  std::vector<State> states_;
  std::vector<std::size_t> places_;   ///< by unit, in buffers.exchanged: the last that it took
  std::vector<runtime::Event> free_;  ///< by place, of communication: what read there last
  std::int64_t turn_ = 0;
};

}  // namespace th::zero
