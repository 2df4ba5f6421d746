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
    : device_(device), layout_(layout), element_(element_bytes(buffers.types.reduced)) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
  made_.gradients.resize(index(buffers.audit.hashes));
  piece_ = runtime::DeviceBlock(device, runtime::Place::kHost, buffers.audit.piece);
  arrivals_ = runtime::DeviceBlock(device, runtime::Place::kHost, buffers.audit.arrivals);
}

std::int64_t SlotAudit::slice_bytes(std::int64_t unit) const {
  return layout_.units()[index(unit)].shard * element_;
}

void SlotAudit::begin(std::int64_t slot) {
  slot_ = slot;
  pass_ = Pass::kOther;
  arrived_ = 0;
  order_.clear();
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

void SlotAudit::arrives(runtime::Stream& communication, std::int64_t unit, const void* slice) {
  const std::int64_t bytes = slice_bytes(unit);
  if (device_.is_host()) {
    arrived_ = hash_pair(arrived_, hash_in_pieces(static_cast<const std::byte*>(slice), bytes));
    return;
  }
  order_.push_back(unit);
  communication.copy(arrivals_.data() + layout_.units()[index(unit)].shard_offset * element_, slice,
                     bytes);
}

std::uint64_t SlotAudit::arrived() {
  for (const std::int64_t unit : order_) {
    const std::byte* slice =
        arrivals_.data() + layout_.units()[index(unit)].shard_offset * element_;
    arrived_ = hash_pair(arrived_, hash_in_pieces(slice, slice_bytes(unit)));
  }
  order_.clear();
  return arrived_;
}

std::uint64_t SlotAudit::hash(const void* memory, std::int64_t bytes) {
  const auto* from = static_cast<const std::byte*>(memory);
  if (device_.is_host()) {
    device_.compute().touch("audit", {runtime::reads(memory, bytes)});
    return hash_in_pieces(from, bytes);
  }
  std::uint64_t hash = 0;
  for (std::int64_t at = 0; at < bytes; at += AuditBuffers::kPiece) {
    const std::int64_t n = std::min(AuditBuffers::kPiece, bytes - at);
    runtime::copy_now(device_, piece_.data(), from + at, n);
    hash = hash_words(bytes_at(piece_.data(), n), hash);
  }
  return hash;
}

}  // namespace th::zero
