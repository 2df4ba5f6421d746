#include "th/zero/slot_audit.hpp"

#include "th/base/hash.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <span>

namespace th::zero {

namespace {

std::span<const std::byte> bytes_at(const void* memory, std::int64_t bytes) {
  return {static_cast<const std::byte*>(memory), index(bytes)};
}

/// Of host memory, in the pieces in which that of a device comes.
std::uint64_t hash_in_pieces(const std::byte* memory, std::int64_t bytes) {
  std::uint64_t hash = 0;
  for (std::int64_t at = 0; at < bytes; at += AuditBuffers::kPiece)
    hash = hash_words(bytes_at(memory + at, std::min(AuditBuffers::kPiece, bytes - at)), hash);
  return hash;
}

}  // namespace

SlotAudit::SlotAudit(runtime::Device& device, const FlatLayout& layout,
                     const EngineBuffers& buffers)
    : device_(device), layout_(layout), element_(element_size(buffers.types.reduced)) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
  made_.gradients.resize(index(buffers.audit.hashes));
}

std::int64_t SlotAudit::slice_bytes(std::int64_t unit) const {
  return layout_.units()[index(unit)].shard * element_;
}

void SlotAudit::begin(std::int64_t slot) {
  slot_ = slot;
  pass_ = Pass::kOther;
  clear_arrivals();
}

bool SlotAudit::in_round(std::int64_t round) const noexcept {
  return on() && slot_ / layout_.ranks() == round;
}

void SlotAudit::enter(Pass pass) {
  pass_ = pass;
  if (!computes()) return;
  made_.loss = 0;
  std::fill(made_.gradients.begin(), made_.gradients.end(), 0);
}

void SlotAudit::add(std::int64_t unit, const std::byte* gradient) {
  const std::size_t units = layout_.units().size();
  const std::int64_t bytes = slice_bytes(unit);
  std::uint64_t& of_unit = made_.gradients[index(unit)];
  for (std::int64_t owner = 0; owner < layout_.ranks(); ++owner) {
    const std::uint64_t slice = hash(gradient + owner * bytes, bytes);
    std::uint64_t& of_owner = made_.gradients[units + index(owner)];
    of_unit = hash_pair(of_unit, slice);
    of_owner = hash_pair(of_owner, slice);
  }
}

namespace {

/// Of a CPU run: memory is hashed where it lies.
class HostSlotAudit final : public SlotAudit {
 public:
  HostSlotAudit(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers)
      : SlotAudit(device, layout, buffers) {}

  void arrives(runtime::Stream&, std::int64_t unit, const void* slice) override {
    arrived_ = hash_pair(arrived_,
                         hash_in_pieces(static_cast<const std::byte*>(slice), slice_bytes(unit)));
  }
  std::uint64_t arrived() override { return arrived_; }
  std::uint64_t hash(const void* memory, std::int64_t bytes) override {
    device_.compute().touch("audit", {runtime::reads(memory, bytes)});
    return hash_in_pieces(static_cast<const std::byte*>(memory), bytes);
  }

 private:
  void clear_arrivals() override { arrived_ = 0; }

  std::uint64_t arrived_ = 0;
};

/// Of a device with memory of its own: what arrives is copied to pinned host memory and hashed at
/// the end.
class DeviceSlotAudit final : public SlotAudit {
 public:
  DeviceSlotAudit(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers)
      : SlotAudit(device, layout, buffers) {
    const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
    piece_ = runtime::DeviceBlock(device, runtime::Place::kHost, buffers.audit.piece);
    arrivals_ = runtime::DeviceBlock(device, runtime::Place::kHost, buffers.audit.arrivals);
  }

  void arrives(runtime::Stream& communication, std::int64_t unit, const void* slice) override {
    order_.push_back(unit);
    communication.copy(slice_of(unit), slice, slice_bytes(unit));
  }
  std::uint64_t arrived() override {
    for (const std::int64_t unit : order_)
      arrived_ = hash_pair(arrived_, hash_in_pieces(slice_of(unit), slice_bytes(unit)));
    order_.clear();
    return arrived_;
  }
  std::uint64_t hash(const void* memory, std::int64_t bytes) override {
    const auto* from = static_cast<const std::byte*>(memory);
    std::uint64_t hash = 0;
    for (std::int64_t at = 0; at < bytes; at += AuditBuffers::kPiece) {
      const std::int64_t n = std::min(AuditBuffers::kPiece, bytes - at);
      runtime::copy_now(device_, piece_.data(), from + at, n);
      hash = hash_words(bytes_at(piece_.data(), n), hash);
    }
    return hash;
  }

 private:
  void clear_arrivals() override {
    arrived_ = 0;
    order_.clear();
  }
  [[nodiscard]] std::byte* slice_of(std::int64_t unit) const {
    return arrivals_.data() + layout_.units()[index(unit)].shard_offset * element_;
  }

  runtime::DeviceBlock piece_;       ///< what is hashed now
  runtime::DeviceBlock arrivals_;    ///< this rank's slices of all units
  std::vector<std::int64_t> order_;  ///< of the units in them
  std::uint64_t arrived_ = 0;
};

}  // namespace

std::unique_ptr<SlotAudit> SlotAudit::make(runtime::Device& device, const FlatLayout& layout,
                                           const EngineBuffers& buffers) {
  if (buffers.memory == runtime::DeviceMemory::kHost)
    return std::make_unique<HostSlotAudit>(device, layout, buffers);
  return std::make_unique<DeviceSlotAudit>(device, layout, buffers);
}

}  // namespace th::zero
