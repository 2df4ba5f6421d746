#include "th/model/ops/element.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"
#include "zero/roles/reducers.hpp"

#include <algorithm>
#include <span>

namespace th::zero {

namespace {

/// Adds the slots' gradients of a unit in a tree over slot numbers: each rank that of its shard.
class ExactReducer final : public GradientReducer {
 public:
  ExactReducer(const EngineFrame& frame, SlotAudit* audit, double* norms)
      : GradientReducer(frame),
        audit_(audit),
        norms_(norms),
        pending_(take_block(frame, runtime::MemoryClass::kCommunication,
                            frame.buffers.pending_sums * frame.buffers.pending_shard * kFloat)),
        tree_(frame.slots, frame.ranks, frame.buffers.pending_shard, pending_.as<float>()) {}

  bool adds_over_rounds() const noexcept override { return false; }

 private:
  runtime::Access::Kind access() const noexcept override { return runtime::Access::Kind::kRead; }
  runtime::Access norms_of(std::int64_t number) const override {
    if (norms_ == nullptr) return {};
    const FlatLayout::Unit& unit = frame_.unit(number);
    return runtime::writes(norms_ + unit.shard_offset / FlatLayout::kBlock,
                           unit.shard / FlatLayout::kBlock * kDouble);
  }
  void sum(std::int64_t unit, std::int64_t offset, std::int64_t round) override;
  /// What a round's slots give to this rank's shard; in the round of an audit slot by slot.
  [[nodiscard]] std::vector<runtime::Contribution> contributions(std::int64_t unit,
                                                                 std::int64_t offset,
                                                                 std::int64_t round,
                                                                 const runtime::SubtreeSum& sum);

  SlotAudit* audit_;
  double* norms_;                 ///< null: the step's end makes them
  runtime::DeviceBlock pending_;  ///< fp32: the tree's
  SlotTree tree_;                 ///< of the communication stream's tasks alone
};

void ExactReducer::sum(std::int64_t number, std::int64_t offset, std::int64_t round) {
  const FlatLayout::Unit& unit = frame_.unit(number);
  const config::Precision type = frame_.buffers.types.reduced;
  const std::int64_t first = round * frame_.ranks;
  model::with_element(model::scalar_type(type), [&](auto element) {
    using T = decltype(element);
    const auto add = [&](std::span<const float* const> slices, float* out) {
      std::vector<const T*> pieces;
      for (const float* slice : slices) pieces.push_back(reinterpret_cast<const T*>(slice));
      SlotTree::subtree_sum<T>(pieces, unit.shard, out);
    };
    const runtime::SubtreeSum subtree{
        first, static_cast<int>(std::min(frame_.ranks, frame_.slots - first)), unit.shard, add};
    std::vector<SlotTree::Leaf> leaves;
    for (const runtime::Contribution& one : contributions(number, offset, round, subtree))
      leaves.push_back({one.data, one.ranks});
    runtime::TreeSum total = tree_.plan(first, leaves, unit.shard_offset, unit.shard,
                                        element_type(type), reduced(number));
    if (norms_ != nullptr) total.square_sums = norms_ + unit.shard_offset / FlatLayout::kBlock;
    frame_.device.tree_sum(frame_.communication, total);
  });
  frame_.collectives.finish_exchange();
}

std::vector<runtime::Contribution> ExactReducer::contributions(std::int64_t unit,
                                                               std::int64_t offset,
                                                               std::int64_t round,
                                                               const runtime::SubtreeSum& sum) {
  const config::Precision type = frame_.buffers.types.reduced;
  const std::int64_t begin = words(offset, type), slice = words(frame_.unit(unit).shard, type);
  if (audit_ == nullptr || !audit_->in_round(round))
    return frame_.collectives.exchange_sums(buffer(), begin, slice, sum);
  // Between nodes sums would hide the slot.
  std::vector<runtime::Contribution> out;
  for (const float* piece : frame_.collectives.exchange(buffer(), begin, slice))
    out.push_back({piece, 1});
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
