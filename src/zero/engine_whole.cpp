#include "th/base/error.hpp"
#include "th/zero/engine.hpp"
#include "th/zero/whole_update.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <memory>
#include <vector>

// The update of matrices that one rank makes whole: what travels, and when.
namespace th::zero {

namespace {

using runtime::FlightRecord;
using Pointers = std::vector<const float*>;

}  // namespace

std::vector<StateStore::Slice> ZeroEngine::parts_of(const StateStore::Slice& slice) const {
  const std::int64_t padded = layout_.units()[index(slice.unit)].padded;
  std::vector<StateStore::Slice> parts;
  for (const StateLayout::Range& range : between(whole_update_->matrices(slice.unit), padded)) {
    const std::int64_t begin = std::max(range.begin, slice.first),
                       end = std::min(range.end, slice.first + slice.count);
    if (begin >= end) continue;
    const std::int64_t at = begin - slice.first;
    StateStore::Slice part = slice.part(at, end - begin);
    part.gradients =
        static_cast<const std::byte*>(slice.gradients) + at * element_bytes(buffers_.types.reduced);
    parts.push_back(part);
  }
  return parts;
}

void ZeroEngine::update_matrices(std::int64_t number) {
  if (whole_update_->matrices(number).empty()) return;
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const std::int64_t offset = buffers_.exchanged.offset(buffers_.exchanged.place(number, 0));
  float* whole = gradients_->data() + offset;
  const StateStore::Slice shard = slice_of(number);
  // A call of the transport on its stream, behind compute; compute waits for it.
  const auto call = [&](const char* name, FlightRecord::What what, const auto& body) {
    communication_.wait(compute_.record());
    communication_.enqueue(name,
                           [this, what, number, body] {
                             const FlightRecord::Scope scope(flight_, communication_, what,
                                                             FlightRecord::On::kCommunication,
                                                             number);
                             body();
                           },
                           {runtime::writes(whole, unit.padded * 4)});
    compute_.wait(communication_.record());
    communication_.run_bodies();
  };
  const auto pieces = std::make_shared<Pointers>();
  const auto finish = [this] { collectives_.finish_exchange(); };
  const WholeTraffic& traffic = whole_update_->traffic();
  for (std::size_t i = 0; i < traffic.arrivals; ++i) {
    whole_update_->prepare(i, shard, whole + rank_ * unit.shard);
    call("gather of whole tensors", FlightRecord::What::kGather,
         [this, pieces, offset, n = unit.shard] {
           *pieces = collectives_.shards(*gradients_, offset, n);
         });
    whole_update_->take(i, number, *pieces);
    call("end of a gather", FlightRecord::What::kGather, finish);
  }
  whole_update_->compute(number);
  for (std::size_t i = 0; i < traffic.returns; ++i) {
    whole_update_->leave(i, number, whole);
    if (i + 1 == traffic.returns) whole_update_->release();
    call("slices of whole tensors", FlightRecord::What::kReduce,
         [this, pieces, offset, n = unit.shard] {
           *pieces = collectives_.exchange(*gradients_, offset, n);
         });
    whole_update_->apply(i, shard, *pieces);
    call("end of slices", FlightRecord::What::kReduce, finish);
  }
}

}  // namespace th::zero
