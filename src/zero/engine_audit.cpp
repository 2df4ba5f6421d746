#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/model/memory/bit_flip.hpp"
#include "th/zero/engine.hpp"
#include "zero/sizes.hpp"

#include <bit>
#include <span>
#include <vector>

// What audits ask of the engine, and the bits that tests flip for them.
namespace th::zero {

void ZeroEngine::begin_audit(std::int64_t slot) {
  ensure(audit_ != nullptr, "ZeroEngine: an audit that the deck does not ask for");
  ensure(round_ == 0 && slot >= 0 && slot < slots_, "ZeroEngine: an audit of no slot of the step");
  ensure(!adds_over_rounds(), "ZeroEngine: an audit of a slot whose gradient is never by itself");
  audit_->begin(slot);
}

SlotHashes ZeroEngine::compute_again(model::Transformer& model, const data::Batch* batch,
                                     std::uint64_t step_key, double gradient_scale,
                                     double label_smoothing) {
  ensure(audit_ && audit_->on(), "ZeroEngine: no slot is audited");
  const bool before = round_ == 0;
  ensure(before || round_ == rounds_, "ZeroEngine: an audit between two rounds");
  if (!before) {
    settle();
    store_->leave_gradients();
  }
  if (pool_) pool_->begin(use_.opens, before ? rounds_ + 1 : 1);
  const bool mine = batch != nullptr;
  audit_->enter(mine ? SlotAudit::Pass::kAgain : SlotAudit::Pass::kAgainElsewhere);
  const BitFlip::Computing flips(mine && batch->sentences > 0);
  const auto slot = static_cast<std::uint64_t>(audit_->slot());
  compute_.clear(losses(), kDouble);  // the place of a round that has not begun
  compute_slot(model, batch, audit_->slot(),
               {hash_pair(step_key, slot), gradient_scale, label_smoothing}, losses());
  SlotHashes made;
  if (mine) {
    double loss = 0;
    runtime::copy_now(device_, &loss, losses(), kDouble);
    made = audit_->made();
    made.loss = std::bit_cast<std::uint64_t>(loss);
    if (BitFlip::here(BitFlip::Place::kMessage))
      BitFlip::flip(std::as_writable_bytes(std::span(made.gradients)));
  }
  compute_.clear(losses(), kDouble);
  audit_->enter(SlotAudit::Pass::kOther);
  device_.settle();
  return made;
}

AuditedSlot ZeroEngine::audited() {
  ensure(audit_ && audit_->on() && round_ == rounds_, "ZeroEngine: an audit before its last round");
  settle();
  AuditedSlot out;
  out.arrived = audit_->arrived();
  if (audit_->slot() % ranks_ != rank_) return out;
  double loss = 0;
  runtime::copy_now(device_, &loss, losses() + audit_->slot() / ranks_, kDouble);
  out.computed = audit_->made();
  out.computed.loss = std::bit_cast<std::uint64_t>(loss);
  return out;
}

std::vector<runtime::Contribution> ZeroEngine::contributions(std::int64_t unit, std::int64_t offset,
                                                             std::int64_t round,
                                                             const runtime::SubtreeSum& sum) {
  const config::Precision type = buffers_.types.reduced;
  const std::int64_t begin = words(offset, type),
                     slice = words(layout_.units()[index(unit)].shard, type);
  if (!audit_ || !audit_->in_round(round))
    return collectives_.exchange_sums(*gradients_, begin, slice, sum);
  // Between nodes sums would hide the slot.
  std::vector<runtime::Contribution> out;
  for (const float* piece : collectives_.exchange(*gradients_, begin, slice))
    out.push_back({piece, 1});
  out.resize(index(sum.present));
  audit_->arrives(communication_, unit, out[index(audit_->slot() % ranks_)].data);
  return out;
}

std::vector<std::uint64_t> ZeroEngine::parameter_hashes() {
  ensure(audit_ != nullptr, "ZeroEngine: an audit that the deck does not ask for");
  if (policy_.shard_parameters) return {};
  const runtime::NodeMap nodes = collectives_.nodes();
  const bool shared = parameters_->one_a_node();
  const std::int64_t copies = shared ? nodes.nodes() : ranks_;
  if (copies == 1 || (shared && nodes.place_of(static_cast<int>(rank_)) > 0)) return {};
  const bool masters = buffers_.types.masters() && !policy_.shard_optimizer;
  std::vector<std::uint64_t> out;
  for (std::int64_t u = 0; u < std::ssize(layout_.units()); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[index(u)];
    compute_.wait(whole_[index(u)]);
    out.push_back(audit_->hash(working_at(*parameters_, unit.offset),
                               unit.content * element_bytes(buffers_.types.working)));
    if (!masters) continue;
    const float* weights = store_->at(State::kParameters, slice_of(u));
    out.back() = hash_pair(out.back(), audit_->hash(weights, unit.content * kFloat));
  }
  return out;
}

void ZeroEngine::spoil_parameters() {
  if (!device_.is_host() || policy_.shard_parameters) return;
  settle();
  const std::int64_t unit = std::ssize(layout_.units()) / 2;
  const std::int64_t count = layout_.units()[index(unit)].content;
  const auto flip = [](void* memory, std::int64_t bytes) {
    BitFlip::flip({static_cast<std::byte*>(memory), index(bytes)});
  };
  flip(working_at(*parameters_, layout_.units()[index(unit)].offset),
       count * element_bytes(buffers_.types.working));
  if (buffers_.types.masters() && !policy_.shard_optimizer)
    flip(store_->at(State::kParameters, slice_of(unit)), count * kFloat);
}

void ZeroEngine::spoil_weights(std::int64_t unit) {
  // With such a matrix in a forward pass: two layers. The output's is in its backward pass.
  constexpr std::int64_t kLeastUnits = 2;
  if (!BitFlip::armed()) return;
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  for (std::int64_t t = 0; t < u.tensor_count; ++t) {
    if (!layout_.tensors()[index(u.first_tensor + t)].spec.one_product) continue;
    if (!BitFlip::here(BitFlip::Place::kWeights, kLeastUnits)) return;
    at::Tensor& values = tensors_[index(unit)].values[index(t)];
    values = values.clone();
    return model::flip_bit(values, BitFlip::draw());
  }
}

void ZeroEngine::spoil_gradient(BitFlip::Place place, std::int64_t unit) {
  if (!BitFlip::here(place, std::ssize(layout_.units())) || !device_.is_host()) return;
  const std::int64_t bytes =
      layout_.units()[index(unit)].padded * element_bytes(buffers_.types.reduced);
  BitFlip::flip({travelling_gradient(unit), index(bytes)});
}

}  // namespace th::zero
