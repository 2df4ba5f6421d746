#include "zero/roles/parameter_residency.hpp"

#include "th/base/error.hpp"
#include "th/zero/gather_pool.hpp"

#include <utility>

namespace th::zero {

using runtime::FlightRecord;

ParameterResidency::ParameterResidency(const EngineFrame& frame, NodeMemory::Buffer parameters,
                                       bool side_by_side)
    : frame_(frame),
      parameters_(std::move(parameters)),
      side_by_side_(side_by_side),
      open_(frame.layout.units().size(), 0),
      updated_(frame.layout.units().size()),
      completed_(frame.layout.units().size()) {}

std::byte* ParameterResidency::acquire(std::int64_t unit) {
  return open_[index(unit)]++ > 0 ? nullptr : open(unit);
}

void ParameterResidency::release(std::int64_t unit) {
  ensure(open_[index(unit)] > 0, "ZeroEngine: a unit was closed that was not open");
  if (--open_[index(unit)] == 0) close(unit);
}

void ParameterResidency::updated(std::int64_t unit, const runtime::Event& event) {
  updated_[index(unit)] = completed_[index(unit)] = event;
}

void ParameterResidency::completed(std::int64_t unit, const runtime::Event& event) {
  completed_[index(unit)] = event;
}

void ParameterResidency::replaced() {
  updated_.assign(updated_.size(), frame_.compute.record());
  completed_ = updated_;
  end_update();
}

std::byte* ParameterResidency::shard(std::int64_t number) const {
  if (!parameters_) return nullptr;
  const FlatLayout::Unit& unit = frame_.unit(number);
  return element_at(parameters_->data(),
                    side_by_side_ ? unit.offset + frame_.rank * unit.shard : unit.shard_offset,
                    frame_.buffers.types.working);
}

std::byte* ParameterResidency::whole(std::int64_t number) const {
  return element_at(parameters_->data(), frame_.unit(number).offset, frame_.buffers.types.working);
}

void ParameterResidency::gather(std::int64_t number, std::byte* to,
                                runtime::TransportBuffer* within) {
  const FlatLayout::Unit& unit = frame_.unit(number);
  frame_.communication.wait(updated_[index(number)]);
  gather_from({parameters_.get(), side_by_side_ ? unit.offset : unit.shard_offset,
               side_by_side_ ? unit.shard : 0, shard(number)},
              number, to, within);
}

void ParameterResidency::gather_from(const Shards& shards, std::int64_t number, std::byte* to,
                                     runtime::TransportBuffer* within) {
  const FlatLayout::Unit& unit = frame_.unit(number);
  const std::int64_t width = element_size(frame_.buffers.types.working);
  const runtime::RankParts parts{shards.offset * width, unit.shard * width, shards.stride * width};
  frame_.communication.enqueue(
      "gather",
      [&frame = frame_, &buffer = *shards.buffer, parts, number, to, within] {
        const FlightRecord::Scope scope(frame.flight, frame.communication,
                                        FlightRecord::What::kGather,
                                        FlightRecord::On::kCommunication, number);
        frame.collectives.all_gather(buffer, parts, to, within);
      },
      {runtime::reads(shards.mine, parts.size), runtime::writes(to, unit.padded * width)});
}

void ParameterResidency::gather_now(std::int64_t unit, std::byte* to,
                                    runtime::TransportBuffer* within) {
  frame_.communication.wait(frame_.compute.record());
  gather(unit, to, within);
  frame_.communication.drain();
}

namespace {

/// Every rank holds all units; after an update they are gathered in place, where the ranks update
/// their own part alone.
class ResidentParameters final : public ParameterResidency {
 public:
  ResidentParameters(const EngineFrame& frame, NodeMemory::Buffer parameters)
      : ParameterResidency(frame, std::move(parameters), true) {}

  void begin(std::span<const std::int64_t>, std::int64_t) override {}
  void gather_ahead() override {}
  void publish(std::int64_t unit) override {
    gather(unit, whole(unit));
    completed(unit, frame_.communication.record());
  }
  void publish_now(std::int64_t unit) override { gather_now(unit, whole(unit)); }
  void end_update() override {}
  void shard_was_read(std::int64_t) override {}
  const std::byte* read_whole(std::int64_t unit, GatherBuffer&) override {
    wait_for(unit);
    return whole(unit);
  }
  std::int64_t scratch_elements() const override { return 0; }
  void forget(std::int64_t) override {}

 private:
  std::byte* open(std::int64_t unit) override {
    std::byte* values = whole(unit);
    wait_for(unit);
    frame_.compute.touch("open",
                         {runtime::reads(values, frame_.unit(unit).padded *
                                                     element_size(frame_.buffers.types.working))});
    return values;
  }
  void close(std::int64_t) override {}
};

/// Every rank holds its shards, on the device or in the store's host memory; open units lie in the
/// buffers of a GatherPool, or where the shards of a node's ranks lie side by side.
class GatheredParameters final : public ParameterResidency {
 public:
  GatheredParameters(const EngineFrame& frame, const StateStore& store,
                     NodeMemory::Buffer parameters)
      : ParameterResidency(frame, std::move(parameters), frame.buffers.gathers_in_place),
        store_(store) {
    const EngineBuffers& b = frame.buffers;
    for (std::int64_t i = 0; i < b.gather_sources; ++i) {
      sources_.push_back(
          {take_buffer(frame, runtime::MemoryClass::kGatherSlots, b.gather_source, b.types.working),
           {}});
    }
    buffer_ = make_gather_buffer(frame, b.gather_slots);
    pool_ = std::make_unique<GatherPool>(
        b, frame.layout,
        [this](std::int64_t unit, std::size_t place) { return memory(unit, place); }, frame.compute,
        frame.communication,
        [this](std::int64_t unit, std::byte* to) { gather(unit, to, buffer_.shared.get()); });
  }

  void begin(std::span<const std::int64_t> opens, std::int64_t rounds) override {
    pool_->begin(opens, rounds);
  }
  void gather_ahead() override { pool_->gather_ahead(); }
  void publish(std::int64_t) override {}
  void publish_now(std::int64_t) override {}
  void end_update() override { pool_->updated(); }
  void shard_was_read(std::int64_t unit) override { pool_->was_read(unit); }
  const std::byte* read_whole(std::int64_t unit, GatherBuffer& scratch) override {
    std::byte* values = in_place() ? whole(unit) : scratch.data();
    gather_now(unit, values, scratch.shared.get());
    return values;
  }
  std::int64_t scratch_elements() const override {
    return in_place() ? 0 : frame_.layout.largest_unit();
  }
  void forget(std::int64_t number) override {
    if (!in_place()) return;
    const FlatLayout::Unit& unit = frame_.unit(number);
    const std::int64_t width = element_size(frame_.buffers.types.working);
    const std::int64_t begin = unit.offset * width, shard = unit.shard * width;
    parameters().forget(begin, shard * frame_.rank);
    parameters().forget(begin + shard * (frame_.rank + 1),
                        shard * (frame_.ranks - frame_.rank - 1));
  }

 private:
  /// Device memory through which a shard in host memory goes to a gather.
  struct Source {
    NodeMemory::Buffer buffer;
    runtime::Event left;  ///< of communication: the gather that read it last
  };

  [[nodiscard]] bool in_place() const { return frame_.buffers.gathers_in_place; }
  [[nodiscard]] std::byte* memory(std::int64_t unit, std::size_t place) const {
    if (in_place()) return whole(unit);
    return element_at(buffer_.data(), frame_.buffers.gathered.offset(place),
                      frame_.buffers.types.working);
  }
  std::byte* open(std::int64_t unit) override { return pool_->open(unit); }
  void close(std::int64_t unit) override {
    pool_->close(unit);
    if (!frame_.buffers.kept[index(unit)]) forget(unit);
  }
  void gather(std::int64_t unit, std::byte* to, runtime::TransportBuffer* within) override {
    const std::byte* on_host = store_.parameters(unit);
    if (on_host == nullptr) return ParameterResidency::gather(unit, to, within);
    Source& source = fetch(unit, on_host);
    gather_from({source.buffer.get(), 0, 0, source.buffer->data()}, unit, to, within);
    source.left = frame_.communication.record();
  }
  /// Enqueues the copy of a shard from the host into the next source, for communication.
  Source& fetch(std::int64_t unit, const std::byte* from);

  const StateStore& store_;
  std::vector<Source> sources_;  ///< taken in turn
  GatherBuffer buffer_;
  std::unique_ptr<GatherPool> pool_;
  std::int64_t fetched_ = 0;  ///< turns of sources_
};

GatheredParameters::Source& GatheredParameters::fetch(std::int64_t unit, const std::byte* from) {
  Source& source = sources_[index(fetched_++ % std::ssize(sources_))];
  std::byte* to = source.buffer->data();
  const std::int64_t bytes = frame_.unit(unit).shard * element_size(frame_.buffers.types.working);
  runtime::Stream& copies = frame_.copies;
  copies.wait(updated_at(unit));
  copies.wait(source.left);
  copies.enqueue("fetch",
                 [&frame = frame_, unit, to, from, bytes] {
                   const FlightRecord::Scope scope(frame.flight, frame.copies,
                                                   FlightRecord::What::kFetch,
                                                   FlightRecord::On::kCopies, unit);
                   frame.copies.copy(to, from, bytes);
                 },
                 {runtime::reads(from, bytes), runtime::writes(to, bytes)});
  frame_.communication.wait(copies.record());
  return source;
}

}  // namespace

std::unique_ptr<ParameterResidency> ParameterResidency::make(const EngineFrame& frame,
                                                             const StateStore& store,
                                                             NodeMemory::Buffer shared) {
  const EngineBuffers& b = frame.buffers;
  NodeMemory::Buffer parameters = std::move(shared);
  if (!parameters && !b.parameters_on_host)
    parameters =
        take_buffer(frame, runtime::MemoryClass::kParameters, b.parameters, b.types.working);
  if (frame.policy.shard_parameters)
    return std::make_unique<GatheredParameters>(frame, store, std::move(parameters));
  return std::make_unique<ResidentParameters>(frame, std::move(parameters));
}

}  // namespace th::zero
