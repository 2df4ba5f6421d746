#include "th/model/memory/batch_copies.hpp"

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <span>

namespace th::model {

namespace {

/// Lays arrays out one behind the other, each at a 64-byte boundary, from address 0: their places
/// within one block.
class Offsets {
 public:
  template <typename T>
  std::int64_t place(std::int64_t count) {
    constexpr std::int64_t kAlignment = 64;
    const std::int64_t at = bytes_;
    bytes_ +=
        (count * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

 private:
  std::int64_t bytes_ = 0;
};

struct Layout {
  Layout(std::int64_t sentences, std::int64_t source_rows, std::int64_t target_rows) {
    Offsets o;
    source = o.place<std::int64_t>(source_rows);
    target_in = o.place<std::int64_t>(target_rows);
    target_out = o.place<std::int64_t>(target_rows);
    source_offsets = o.place<std::int64_t>(sentences + 1);
    target_offsets = o.place<std::int64_t>(sentences + 1);
    source_lengths = o.place<std::int32_t>(sentences);
    source_places = o.place<std::int32_t>(source_rows);
    target_places = o.place<std::int32_t>(target_rows);
    bytes = o.bytes();
  }
  std::int64_t source, target_in, target_out, source_offsets, target_offsets, source_lengths,
      source_places, target_places, bytes;
};

/// Of a place that holds so many.
std::int64_t capacity(std::int64_t bytes) {
  constexpr std::uint64_t kLeast = 64 << 10;
  return static_cast<std::int64_t>(
      std::bit_ceil(std::max(static_cast<std::uint64_t>(bytes), kLeast)));
}

template <typename T>
void write(std::byte* to, std::span<const T> values) {
  if (!values.empty()) std::memcpy(to, values.data(), values.size_bytes());
}

}  // namespace

BatchArrays host_arrays(const data::Batch& batch, const PackedRows& rows) {
  return {batch.source.data(),
          batch.target_in.data(),
          batch.target_out.data(),
          rows.source_offsets().data(),
          rows.target_offsets().data(),
          batch.source_lengths.data(),
          rows.source_places().data_ptr<std::int32_t>(),
          rows.target_places().data_ptr<std::int32_t>()};
}

BatchCopies::BatchCopies(runtime::Device& device)
    : device_(device), copies_(device.make_stream(runtime::StreamUse::kCopies)) {}

BatchCopies::~BatchCopies() {
  try {
    device_.compute().drain();
    copies_->drain();
  } catch (const Error&) {  // the error that ended the run was reported
  }
}

std::int64_t BatchCopies::bytes(std::int64_t sentences, std::int64_t source_rows,
                                std::int64_t target_rows) {
  return 2 * capacity(Layout(sentences, source_rows, target_rows).bytes);
}

void BatchCopies::grow(std::int64_t bytes) {
  if (bytes <= places_[0].memory.bytes()) return;
  device_.compute().drain();
  copies_->drain();
  const runtime::MemoryScope scope(runtime::MemoryClass::kBatches);
  for (Place& place : places_) {
    place.pinned = {};
    place.memory = {};
    place.pinned = runtime::DeviceBlock(device_, runtime::Place::kHost, capacity(bytes));
    place.memory = runtime::DeviceBlock(device_, runtime::Place::kDevice, capacity(bytes));
    place.used = device_.compute().record();  // behind its zeroing
  }
}

BatchArrays BatchCopies::take(const data::Batch& batch, const PackedRows& rows) {
  const Layout at(batch.sentences, batch.source_tokens, batch.target_tokens);
  grow(at.bytes);
  runtime::Stream& compute = device_.compute();
  Place& last = places_[turn_];
  compute.touch("read a batch", {runtime::reads(last.memory.data(), last.memory.bytes())});
  last.used = compute.record();
  turn_ = 1 - turn_;
  Place& place = places_[turn_];
  device_.host().wait(place.copied);
  device_.host().touch("write a batch", {runtime::writes(place.pinned.data(), at.bytes)});
  std::byte* to = place.pinned.data();
  write<std::int64_t>(to + at.source, batch.source);
  write<std::int64_t>(to + at.target_in, batch.target_in);
  write<std::int64_t>(to + at.target_out, batch.target_out);
  write(to + at.source_offsets, rows.source_offsets());
  write(to + at.target_offsets, rows.target_offsets());
  write<std::int32_t>(to + at.source_lengths, batch.source_lengths);
  write_places(batch.source_lengths, reinterpret_cast<std::int32_t*>(to + at.source_places));
  write_places(batch.target_lengths, reinterpret_cast<std::int32_t*>(to + at.target_places));
  copies_->wait(place.used);
  {
    using runtime::FlightRecord;
    std::optional<FlightRecord::Scope> event;
    if (record_)
      event.emplace(record_, *copies_, FlightRecord::What::kBatch, FlightRecord::On::kBatchCopies,
                    FlightRecord::kNone);
    copies_->copy(place.memory.data(), to, at.bytes);
  }
  place.copied = copies_->record();
  compute.wait(place.copied);
  const auto wide = [&](std::int64_t offset) {
    return reinterpret_cast<const std::int64_t*>(place.memory.data() + offset);
  };
  const auto narrow = [&](std::int64_t offset) {
    return reinterpret_cast<const std::int32_t*>(place.memory.data() + offset);
  };
  return {wide(at.source),          wide(at.target_in),      wide(at.target_out),
          wide(at.source_offsets),  wide(at.target_offsets), narrow(at.source_lengths),
          narrow(at.source_places), narrow(at.target_places)};
}

}  // namespace th::model
