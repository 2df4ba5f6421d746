#include "th/zero/gather_pool.hpp"

#include "th/base/error.hpp"
#include "zero/sizes.hpp"

#include <utility>

namespace th::zero {

GatherPool::GatherPool(const EngineBuffers& buffers, const FlatLayout& layout, Memory memory,
                       runtime::Stream& compute, runtime::Stream& communication, Gather gather)
    : buffers_(buffers),
      layout_(layout),
      memory_(std::move(memory)),
      element_bytes_(element_size(buffers.types.working)),
      compute_(compute),
      communication_(communication),
      gather_(std::move(gather)),
      places_(buffers.gathered.places()),
      released_(buffers.gathers_in_place ? layout.units().size() : places_.size()),
      used_(layout.units().size(), 0),
      in_use_(layout.units().size(), false) {}

void GatherPool::Place::gather(const runtime::Event& event) {
  ensure(state != PlaceState::kOpen, "GatherPool: a unit was gathered over one that is open");
  gathered = event;
  state = PlaceState::kGathered;
}

void GatherPool::Place::open() {
  ensure(state != PlaceState::kOpen, "GatherPool: a place was opened twice");
  state = PlaceState::kOpen;
}

void GatherPool::Place::close(bool stays) {
  ensure(state == PlaceState::kOpen, "GatherPool: a unit was closed that was not open");
  state = stays ? PlaceState::kGathered : PlaceState::kFree;
}

void GatherPool::Place::update() {
  ensure(state != PlaceState::kOpen, "GatherPool: a unit is open during an update");
  state = PlaceState::kFree;
}

void GatherPool::begin(std::span<const std::int64_t> opens, std::int64_t rounds) {
  opens_ = opens;
  opened_ = 0;
  scheduled_ = rounds * std::ssize(opens_);
  ahead_.clear();
  in_use_.assign(in_use_.size(), false);
}

runtime::Event& GatherPool::released(std::int64_t unit, std::size_t place) {
  return released_[buffers_.gathers_in_place ? index(unit) : place];
}

std::optional<std::size_t> GatherPool::gather(std::int64_t unit) {
  const std::size_t at = buffers_.gathered.place(unit, turn_);
  Place& place = places_[at];
  if (place.state == PlaceState::kOpen) return std::nullopt;
  if (place.state == PlaceState::kGathered && buffers_.kept[index(unit)]) return at;
  if (buffers_.gathers_in_place && in_use_[index(unit)]) return std::nullopt;
  in_use_[index(unit)] = true;
  if (buffers_.gathered.takes_turns(unit)) ++turn_;
  communication_.wait(released(unit, at));
  gather_(unit, memory_(unit, at));
  place.gather(communication_.record());
  return at;
}

std::byte* GatherPool::open(std::int64_t unit) {
  std::optional<std::size_t> at;
  if (opened_ < scheduled_) {
    ensure(opens_[index(opened_ % std::ssize(opens_))] == unit,
           "GatherPool: a unit was opened out of the order that the model told");
    ++opened_;
    if (!ahead_.empty()) {
      at = ahead_.front();
      ahead_.pop_front();
    }
  }
  if (!at) at = gather(unit);
  ensure(at.has_value(), "GatherPool: more units are open than have places");
  Place& place = places_[*at];
  place.open();
  used_[index(unit)] = *at;
  compute_.wait(place.gathered);
  compute_.touch("open", {read_of(unit, *at)});
  return memory_(unit, *at);
}

void GatherPool::gather_ahead() {
  for (std::int64_t next = opened_ + std::ssize(ahead_);
       std::ssize(ahead_) + 1 < buffers_.gathered.shared && next < scheduled_; ++next) {
    const std::optional<std::size_t> to = gather(opens_[index(next % std::ssize(opens_))]);
    if (!to) break;
    ahead_.push_back(*to);
  }
}

void GatherPool::close(std::int64_t unit) {
  const std::size_t at = used_[index(unit)];
  Place& place = places_[at];
  compute_.touch("close", {read_of(unit, at)});
  released(unit, at) = compute_.record();
  place.close(buffers_.kept[index(unit)]);
  in_use_[index(unit)] = false;
}

void GatherPool::was_read(std::int64_t unit) {
  if (buffers_.gathers_in_place) released(unit, 0) = compute_.record();
}

void GatherPool::updated() {
  ensure(ahead_.empty(), "GatherPool: a unit was gathered ahead of an update");
  for (Place& place : places_) place.update();
}

runtime::Access GatherPool::read_of(std::int64_t unit, std::size_t place) const {
  return runtime::reads(memory_(unit, place), layout_.units()[index(unit)].padded * element_bytes_);
}

}  // namespace th::zero
