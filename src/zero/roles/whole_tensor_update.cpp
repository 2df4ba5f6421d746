#include "th/base/error.hpp"
#include "th/zero/whole_update.hpp"
#include "zero/roles/parameter_update.hpp"

#include <algorithm>
#include <memory>
#include <vector>

namespace th::zero {

namespace {

using runtime::FlightRecord;
using Pointers = std::vector<const float*>;  ///< whole tensors are updated in fp32 alone

/// Elements between matrices are updated where their shards are, matrices by one rank each: what
/// travels, and when.
class WholeTensorUpdate final : public ParameterUpdate {
 public:
  explicit WholeTensorUpdate(const Parts& parts)
      : ParameterUpdate(parts),
        whole_(WholeUpdate::make(parts.frame.config, parts.frame.layout, parts.frame.rank,
                                 parts.store)) {
    ensure(parts.frame.buffers.memory == runtime::DeviceMemory::kHost,
           "ZeroEngine: whole tensors are updated on the host alone");
  }

  void prepare(std::int64_t unit, const runtime::Event& reduced) override {
    parts_.store.bring(slices_.kept(unit), reduced, parts_.frame.flight);
  }

 private:
  void begin(const OptimizerStep& step, std::uint64_t draws) override {
    whole_->begin_step(step, draws);
  }
  void update(std::int64_t unit, const runtime::UpdateFactors& factors,
              const runtime::StepOutcome* outcome) override;
  /// The parts of a slice that the element's formula updates: what lies between matrices.
  [[nodiscard]] std::vector<StateStore::Slice> parts_of(const StateStore::Slice& slice) const;
  /// The update of a unit's matrices. Collective.
  void update_matrices(std::int64_t number);

  std::unique_ptr<WholeUpdate> whole_;
};

std::vector<StateStore::Slice> WholeTensorUpdate::parts_of(const StateStore::Slice& slice) const {
  const EngineFrame& frame = parts_.frame;
  std::vector<StateStore::Slice> parts;
  for (const StateLayout::Range& range :
       between(whole_->matrices(slice.unit), frame.unit(slice.unit).padded)) {
    const std::int64_t begin = std::max(range.begin, slice.first),
                       end = std::min(range.end, slice.first + slice.count);
    if (begin >= end) continue;
    const std::int64_t at = begin - slice.first;
    StateStore::Slice part = slice.part(at, end - begin);
    part.gradients = static_cast<const std::byte*>(slice.gradients) +
                     at * element_size(frame.buffers.types.reduced);
    parts.push_back(part);
  }
  return parts;
}

void WholeTensorUpdate::update(std::int64_t unit, const runtime::UpdateFactors& factors,
                               const runtime::StepOutcome* outcome) {
  {
    const FlightRecord::Scope scope(parts_.frame.flight, parts_.store.updating(),
                                    FlightRecord::What::kUpdate, place(), unit);
    for (const StateStore::Slice& part : parts_of(slices_.kept(unit))) {
      parts_.store.announce(part);
      parts_.store.update_next(factors, outcome);
    }
    update_matrices(unit);
    average(slices_.kept(unit));
  }
  parts_.parameters.updated(unit, parts_.store.updated());
  parts_.parameters.publish(unit);
}

void WholeTensorUpdate::update_matrices(std::int64_t number) {
  if (whole_->matrices(number).empty()) return;
  const EngineFrame& frame = parts_.frame;
  const FlatLayout::Unit& unit = frame.unit(number);
  const UnitPlaces& places = frame.buffers.exchanged;
  const std::int64_t offset = places.offset(places.place(number, 0));
  runtime::TransportBuffer& buffer = parts_.gradients.buffer();
  float* whole = buffer.as<float>() + offset;
  const runtime::RankParts parts{offset * kFloat, unit.shard * kFloat};
  const runtime::Access memory = runtime::writes(whole, unit.padded * kFloat);
  const StateStore::Slice shard = slices_.kept(number);
  runtime::Collectives& collectives = frame.collectives;
  const auto pieces = std::make_shared<Pointers>();
  const auto finish = [&collectives] { collectives.finish_exchange(); };
  const WholeTraffic& traffic = whole_->traffic();
  for (std::size_t i = 0; i < traffic.arrivals; ++i) {
    whole_->prepare(i, shard, whole + frame.rank * unit.shard);
    call("gather of whole tensors", FlightRecord::What::kGather, number, memory,
         [&collectives, &buffer, pieces, parts] {
           pieces->clear();
           for (const std::byte* piece : collectives.shards(buffer, parts))
             pieces->push_back(reinterpret_cast<const float*>(piece));
         });
    whole_->take(i, number, *pieces);
    call("end of a gather", FlightRecord::What::kGather, number, memory, finish);
  }
  whole_->compute(number);
  for (std::size_t i = 0; i < traffic.returns; ++i) {
    whole_->leave(i, number, whole);
    if (i + 1 == traffic.returns) whole_->release();
    call("slices of whole tensors", FlightRecord::What::kReduce, number, memory,
         [&collectives, &buffer, pieces, parts] {
           pieces->clear();
           for (const runtime::Contribution& slice : collectives.exchange(buffer, parts))
             pieces->push_back(reinterpret_cast<const float*>(slice.data));
         });
    whole_->apply(i, shard, *pieces);
    call("end of slices", FlightRecord::What::kReduce, number, memory, finish);
  }
}

}  // namespace

std::unique_ptr<ParameterUpdate> make_whole_tensor_update(const ParameterUpdate::Parts& parts) {
  return std::make_unique<WholeTensorUpdate>(parts);
}

}  // namespace th::zero
