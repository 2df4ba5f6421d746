#include "zero/roles/parameter_update.hpp"

#include "th/base/hash.hpp"
#include "th/zero/whole_matrices.hpp"

#include <memory>
#include <vector>

namespace th::zero {

using runtime::FlightRecord;

void ParameterUpdate::run(const StepRequest& request, double gradient_factor,
                          const runtime::StepOutcome* outcome) {
  constexpr std::uint64_t kRoundingStream = 0x726f756e64;
  const EngineFrame& frame = parts_.frame;
  const std::uint64_t draws = hash_pair(hash_pair(frame.config.run.seed, kRoundingStream),
                                        static_cast<std::uint64_t>(request.optimizer_step));
  const OptimizerStep step{frame.config.optimizer, request.lr, gradient_factor,
                           request.optimizer_step};
  runtime::UpdateFactors factors = update_factors(step);
  factors.draws = draws;
  average_rate_ = request.optimizer_step == 1 ? 1.0 : 1.0 - frame.config.train.ema_decay;
  begin(step, draws);
  for (std::int64_t u = 0; u < frame.units(); ++u) update(u, factors, outcome);
  frame.communication.run_bodies();
  parts_.parameters.end_update();
}

void ParameterUpdate::average(const StateStore::Slice& slice) {
  if (parts_.frame.buffers.averages) parts_.store.average(slice, average_rate_);
}

namespace {

/// A rank updates what it keeps; where that is its shards, resident parameters are published.
class ShardedUpdate final : public ParameterUpdate {
 public:
  explicit ShardedUpdate(const Parts& parts) : ParameterUpdate(parts) {}

  void prepare(std::int64_t unit, const runtime::Event& reduced) override {
    parts_.store.bring(slices_.kept(unit), reduced, parts_.frame.flight);
  }

 private:
  void begin(const OptimizerStep&, std::uint64_t) override {
    for (std::int64_t u = 0; u < parts_.frame.units(); ++u) parts_.store.announce(slices_.kept(u));
  }
  void update(std::int64_t unit, const runtime::UpdateFactors& factors,
              const runtime::StepOutcome* outcome) override {
    {
      const FlightRecord::Scope scope(parts_.frame.flight, parts_.store.updating(),
                                      FlightRecord::What::kUpdate, place(), unit);
      parts_.store.update_next(factors, outcome);
      average(slices_.kept(unit));
    }
    parts_.parameters.updated(unit, parts_.store.updated());
    if (parts_.frame.policy.shard_optimizer) parts_.parameters.publish(unit);
  }
};

/// Every rank has the sum of its shard, and updates all shards, but for those that the other ranks
/// of its node update.
class ReplicatedUpdate final : public ParameterUpdate {
 public:
  explicit ReplicatedUpdate(const Parts& parts) : ParameterUpdate(parts) {}

  void prepare(std::int64_t, const runtime::Event&) override {}

 private:
  using Pointers = std::vector<const std::byte*>;
  void update(std::int64_t number, const runtime::UpdateFactors& factors,
              const runtime::StepOutcome* outcome) override;
  /// Announces the shards of a unit that this rank updates, with their sums.
  [[nodiscard]] std::vector<StateStore::Slice> announce(std::int64_t number, const Pointers& sums);
};

std::vector<StateStore::Slice> ReplicatedUpdate::announce(std::int64_t number,
                                                          const Pointers& sums) {
  const std::int64_t shard = parts_.frame.unit(number).shard;
  std::vector<StateStore::Slice> slices;
  for (std::int64_t r = 0; r < parts_.frame.ranks; ++r) {
    if (!parts_.node.updates[index(r)]) continue;
    std::byte* parameters = parts_.parameters.whole(number) +
                            r * shard * element_size(parts_.frame.buffers.types.working);
    slices.push_back({number, r * shard, shard, sums[index(r)], parameters, r * shard});
    parts_.store.announce(slices.back());
  }
  return slices;
}

void ReplicatedUpdate::update(std::int64_t number, const runtime::UpdateFactors& factors,
                              const runtime::StepOutcome* outcome) {
  const auto& [frame, node, store, parameters, gradients] = parts_;
  const BufferTypes& types = frame.buffers.types;
  const FlatLayout::Unit& unit = frame.unit(number);
  const runtime::Access gradient =
      runtime::writes(gradients.whole(number), unit.padded * element_size(types.reduced));
  const auto sums = std::make_shared<Pointers>();
  call("gather", FlightRecord::What::kGather, number, gradient,
       [&frame = frame, &buffer = gradients.buffer(), sums,
        parts = runtime::RankParts{unit.offset * element_size(types.reduced),
                                   unit.shard * element_size(types.reduced)}] {
         *sums = frame.collectives.shards(buffer, parts);
       });
  const std::vector<StateStore::Slice> slices = announce(number, *sums);
  {
    const FlightRecord::Scope scope(frame.flight, store.updating(), FlightRecord::What::kUpdate,
                                    place(), number);
    for (const StateStore::Slice& slice : slices) {
      store.update_next(factors, outcome);
      average(slice);
    }
  }
  parameters.updated(number, store.updated());
  frame.communication.wait(store.updating().record());
  // From here on the owners may write again what was read here.
  const bool others = std::ssize(slices) < frame.ranks;  // have updated what this rank did not
  frame.communication.enqueue(
      "end of a gather", [&frame = frame] { frame.collectives.finish_exchange(); },
      {gradient, runtime::writes(parameters.whole(number),
                                 others ? unit.padded * element_size(types.working) : 0)});
  gradients.read_until(number, frame.communication.record());
  if (others) parameters.completed(number, frame.communication.record());
}

}  // namespace

std::unique_ptr<ParameterUpdate> ParameterUpdate::make(const Parts& parts) {
  const config::RunConfig& config = parts.frame.config;
  if (updates_whole_tensors(config)) return make_whole_tensor_update(parts);
  if (parts.frame.policy.shard_optimizer || config.comm.reduction == config::Reduction::kFast)
    return std::make_unique<ShardedUpdate>(parts);
  return std::make_unique<ReplicatedUpdate>(parts);
}

}  // namespace th::zero
