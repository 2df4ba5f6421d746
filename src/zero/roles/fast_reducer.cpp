#include "th/base/error.hpp"
#include "zero/roles/reducers.hpp"

namespace th::zero {

namespace {

/// Adds the gradients of a unit over the ranks in the transport's order. Without sharding a rank
/// adds those of its own rounds first; else the sums of rounds are added to its shard.
class FastReducer final : public GradientReducer {
 public:
  explicit FastReducer(const EngineFrame& frame)
      : GradientReducer(frame), sharded_(frame.policy.shard_gradients) {
    ensure(!frame.buffers.types.short_gradients(), "comm.reduction=fast sums fp32 alone");
  }
  bool adds_over_rounds() const noexcept override { return !sharded_; }

 private:
  runtime::Access::Kind access(std::int64_t /*pass*/) const noexcept override {
    return runtime::Access::Kind::kWrite;
  }
  void sum(std::int64_t number, std::int64_t offset, std::int64_t pass) override {
    const FlatLayout::Unit& unit = frame_.unit(number);
    float* full = buffer().as<float>() + offset;
    frame_.collectives.all_reduce_fast(full, unit.padded);
    if (!sharded_) return;
    auto* out = reinterpret_cast<float*>(reduced(number));
    const float* mine = full + frame_.rank * unit.shard;
    if (pass == 0) return frame_.communication.copy(out, mine, unit.shard * kFloat);
    frame_.device.accumulate(frame_.communication, out, mine, unit.shard);
  }

  bool sharded_;
};

}  // namespace

std::unique_ptr<GradientReducer> make_fast_reducer(const EngineFrame& frame) {
  return std::make_unique<FastReducer>(frame);
}

}  // namespace th::zero
