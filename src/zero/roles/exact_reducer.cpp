#include "th/model/ops/element.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"
#include "zero/roles/reducers.hpp"

#include <map>
#include <span>

namespace th::zero {

namespace {

/// Adds the slots' gradients of a unit in a tree over slot numbers: each rank that of its shard, of
/// what the ranks send. Where a rank has a whole subtree of slots (SlotDealing) it adds them first,
/// pass by pass, and sends their sum.
class ExactReducer final : public GradientReducer {
 public:
  ExactReducer(const EngineFrame& frame, SlotAudit* audit, double* norms)
      : GradientReducer(frame),
        audit_(audit),
        norms_(norms),
        pending_(take_block(frame, runtime::MemoryClass::kCommunication,
                            frame.buffers.pending_sums * frame.buffers.pending_shard * kFloat)),
        own_pending_(take_block(frame, runtime::MemoryClass::kCommunication,
                                frame.buffers.own_sums * frame.buffers.pending_whole * kFloat)),
        tree_(frame.dealing.ends(), frame.buffers.pending_shard, pending_.as<float>()) {
    for (const SlotDealing::Exchange& one : frame.dealing.exchanges())
      own_trees_.try_emplace(one.each, SlotTree::one_by_one(one.each), frame.buffers.pending_whole,
                             own_pending_.as<float>());
  }

  bool adds_over_rounds() const noexcept override { return false; }

 private:
  runtime::Access::Kind access(std::int64_t pass) const noexcept override {
    using Kind = runtime::Access::Kind;
    const SlotDealing::Exchange of = frame_.dealing.exchange_of(pass);
    return of.each > 1 && pass == of.last_pass() ? Kind::kWrite : Kind::kRead;
  }
  runtime::Access norms_of(std::int64_t number) const override {
    if (norms_ == nullptr) return {};
    const FlatLayout::Unit& unit = frame_.unit(number);
    return runtime::writes(norms_ + unit.shard_offset / FlatLayout::kBlock,
                           unit.shard / FlatLayout::kBlock * kDouble);
  }
  void sum(std::int64_t unit, std::int64_t offset, std::int64_t pass) override;
  /// Adds this rank's slot of a pass to those before it; behind the last one of an exchange their
  /// sum lies where the gradient lay.
  void add_own(std::int64_t unit, std::int64_t offset, std::int64_t slot,
               const SlotDealing::Exchange& of);
  /// What an exchange gives to this rank's shard; in the round of an audit slot by slot.
  [[nodiscard]] std::vector<runtime::Contribution> contributions(std::int64_t unit,
                                                                 std::int64_t offset,
                                                                 std::int64_t pass,
                                                                 const runtime::SubtreeSum& sum);

  SlotAudit* audit_;
  double* norms_;                               ///< null: the step's end makes them
  runtime::DeviceBlock pending_, own_pending_;  ///< fp32: the trees'
  SlotTree tree_;  ///< of the communication stream's tasks alone, as what follows
  std::map<std::int64_t, SlotTree> own_trees_;  ///< by the number of slots
};

void ExactReducer::sum(std::int64_t number, std::int64_t offset, std::int64_t pass) {
  const FlatLayout::Unit& unit = frame_.unit(number);
  const ElementType type = frame_.buffers.types.reduced;
  const SlotDealing::Exchange of = frame_.dealing.exchange_of(pass);
  if (of.each > 1) add_own(number, offset, pass - of.first_pass, of);
  if (pass != of.last_pass()) return;
  model::with_element(model::scalar_type(type), [&](auto element) {
    using T = decltype(element);
    const auto add = [&](std::span<const std::byte* const> slices, float* out) {
      std::vector<const T*> pieces;
      for (const std::byte* slice : slices) pieces.push_back(reinterpret_cast<const T*>(slice));
      SlotTree::subtree_sum<T>(pieces, unit.shard, out);
    };
    const runtime::SubtreeSum subtree{SlotDealing::first_leaf(of), frame_.dealing.present(of),
                                      unit.shard, add};
    std::vector<SlotTree::Leaf> leaves;
    for (const runtime::Contribution& one : contributions(number, offset, pass, subtree))
      leaves.push_back({one.data, one.ranks * of.each});
    runtime::TreeSum total =
        tree_.plan(of.first_slot, leaves, unit.shard_offset, unit.shard, type, reduced(number));
    if (norms_ != nullptr) total.square_sums = norms_ + unit.shard_offset / FlatLayout::kBlock;
    frame_.device.tree_sum(frame_.communication, total);
  });
  frame_.collectives.finish_exchange();
}

void ExactReducer::add_own(std::int64_t number, std::int64_t offset, std::int64_t slot,
                           const SlotDealing::Exchange& of) {
  const FlatLayout::Unit& unit = frame_.unit(number);
  float* gradient = buffer().as<float>() + offset;
  const std::vector<SlotTree::Leaf> leaf{{gradient, 1}};
  frame_.device.tree_sum(frame_.communication,
                         own_trees_.at(of.each).plan(slot, leaf, unit.offset, unit.padded,
                                                     ElementType::kFp32, gradient));
}

std::vector<runtime::Contribution> ExactReducer::contributions(std::int64_t unit,
                                                               std::int64_t offset,
                                                               std::int64_t pass,
                                                               const runtime::SubtreeSum& sum) {
  const std::int64_t width = element_size(frame_.buffers.types.reduced);
  const runtime::RankParts parts{offset * width, frame_.unit(unit).shard * width};
  if (audit_ == nullptr || !audit_->in_round(pass))
    return frame_.collectives.exchange(buffer(), parts, &sum);
  // Between nodes sums would hide the slot.
  std::vector<runtime::Contribution> out = frame_.collectives.exchange(buffer(), parts);
  out.resize(index(sum.present));
  audit_->arrives(frame_.communication, unit, out[index(audit_->slot() % frame_.ranks)].data);
  return out;
}

}  // namespace

std::unique_ptr<GradientReducer> make_exact_reducer(const EngineFrame& frame, SlotAudit* audit,
                                                    double* norms) {
  return std::make_unique<ExactReducer>(frame, audit, norms);
}

}  // namespace th::zero
