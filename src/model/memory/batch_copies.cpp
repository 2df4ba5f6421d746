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

/// Where the arrays of a batch stand.
struct Layout {
  struct Blocks {
    std::int64_t queries = 0, keys = 0;
  };
  explicit Layout(const PackedRows& rows) {
    const std::int64_t sentences = std::ssize(rows.memory_lengths());
    const std::int64_t source_rows = rows.source_offsets().back();
    const std::int64_t target_rows = rows.target_offsets().back();
    Offsets o;
    source = o.place<std::int64_t>(source_rows);
    target_in = o.place<std::int64_t>(target_rows);
    target_out = o.place<std::int64_t>(target_rows);
    source_offsets = o.place<std::int64_t>(sentences + 1);
    target_offsets = o.place<std::int64_t>(sentences + 1);
    source_lengths = o.place<std::int32_t>(sentences);
    source_places = o.place<std::int32_t>(source_rows);
    target_places = o.place<std::int32_t>(target_rows);
    const std::int64_t thinned = std::ssize(rows.memory_rows());
    if (thinned > 0) {
      memory_offsets = o.place<std::int64_t>(sentences + 1);
      memory_lengths = o.place<std::int32_t>(sentences);
      memory_rows = o.place<std::int64_t>(thinned);
    }
    encoder = blocks(o, rows.source_blocks());
    decoder = blocks(o, rows.target_blocks());
    cross = blocks(o, rows.cross_blocks());
    bytes = o.bytes();
  }
  std::int64_t source, target_in, target_out, source_offsets, target_offsets, source_lengths,
      source_places, target_places, memory_offsets = 0, memory_lengths = 0, memory_rows = 0;
  Blocks encoder, decoder, cross;
  std::int64_t bytes;

 private:
  static Blocks blocks(Offsets& o, const AttentionBlocks& of) {
    Blocks at;
    at.queries = o.place<op::RowSpan>(std::ssize(of.queries));
    at.keys = o.place<op::RowSpan>(std::ssize(of.keys));
    return at;
  }
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

/// Writes all arrays of a batch where they stand from `to` on.
void write_arrays(const data::Batch& batch, const PackedRows& rows, const Layout& at,
                  std::byte* to) {
  write<std::int64_t>(to + at.source, batch.source);
  write<std::int64_t>(to + at.target_in, batch.target_in);
  write<std::int64_t>(to + at.target_out, batch.target_out);
  write(to + at.source_offsets, rows.source_offsets());
  write(to + at.target_offsets, rows.target_offsets());
  write<std::int32_t>(to + at.source_lengths, batch.source_lengths);
  write_places(batch.source_lengths, reinterpret_cast<std::int32_t*>(to + at.source_places));
  write_places(batch.target_lengths, reinterpret_cast<std::int32_t*>(to + at.target_places));
  if (!rows.memory_rows().empty()) {
    write(to + at.memory_offsets, rows.memory_offsets());
    write(to + at.memory_lengths, rows.memory_lengths());
    write(to + at.memory_rows, rows.memory_rows());
  }
  const auto blocks = [to](const Layout::Blocks& where, const AttentionBlocks& of) {
    write<op::RowSpan>(to + where.queries, of.queries);
    write<op::RowSpan>(to + where.keys, of.keys);
  };
  blocks(at.encoder, rows.source_blocks());
  blocks(at.decoder, rows.target_blocks());
  blocks(at.cross, rows.cross_blocks());
}

/// The arrays that stand from `from` on.
BatchArrays arrays_at(const std::byte* from, const Layout& at, bool thinned) {
  const auto wide = [from](std::int64_t offset) {
    return reinterpret_cast<const std::int64_t*>(from + offset);
  };
  const auto narrow = [from](std::int64_t offset) {
    return reinterpret_cast<const std::int32_t*>(from + offset);
  };
  const auto spans = [from](const Layout::Blocks& where) {
    return BatchArrays::Spans{reinterpret_cast<const op::RowSpan*>(from + where.queries),
                              reinterpret_cast<const op::RowSpan*>(from + where.keys)};
  };
  return {.source = wide(at.source),
          .target_in = wide(at.target_in),
          .target_out = wide(at.target_out),
          .source_offsets = wide(at.source_offsets),
          .target_offsets = wide(at.target_offsets),
          .source_lengths = narrow(at.source_lengths),
          .source_places = narrow(at.source_places),
          .target_places = narrow(at.target_places),
          .memory_offsets = wide(thinned ? at.memory_offsets : at.source_offsets),
          .memory_lengths = narrow(thinned ? at.memory_lengths : at.source_lengths),
          .memory_rows = thinned ? wide(at.memory_rows) : nullptr,
          .encoder = spans(at.encoder),
          .decoder = spans(at.decoder),
          .cross = spans(at.cross)};
}

}  // namespace

BatchArrays host_arrays(const data::Batch& batch, const PackedRows& rows) {
  const auto spans = [](const AttentionBlocks& of) {
    return BatchArrays::Spans{of.queries.data(), of.keys.data()};
  };
  return {.source = batch.source.data(),
          .target_in = batch.target_in.data(),
          .target_out = batch.target_out.data(),
          .source_offsets = rows.source_offsets().data(),
          .target_offsets = rows.target_offsets().data(),
          .source_lengths = batch.source_lengths.data(),
          .source_places = rows.source_places().data_ptr<std::int32_t>(),
          .target_places = rows.target_places().data_ptr<std::int32_t>(),
          .memory_offsets = rows.memory_offsets().data(),
          .memory_lengths = rows.memory_lengths().data(),
          .memory_rows = rows.memory_rows().data(),
          .encoder = spans(rows.source_blocks()),
          .decoder = spans(rows.target_blocks()),
          .cross = spans(rows.cross_blocks())};
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

std::int64_t BatchCopies::bytes(const PackedRows& rows) { return 2 * capacity(Layout(rows).bytes); }

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
  const Layout at(rows);
  grow(at.bytes);
  runtime::Stream& compute = device_.compute();
  Place& last = places_[turn_];
  compute.touch("read a batch", {runtime::reads(last.memory.data(), last.memory.bytes())});
  last.used = compute.record();
  turn_ = 1 - turn_;
  Place& place = places_[turn_];
  device_.host().wait(place.copied);
  device_.host().touch("write a batch", {runtime::writes(place.pinned.data(), at.bytes)});
  write_arrays(batch, rows, at, place.pinned.data());
  copies_->wait(place.used);
  {
    using runtime::FlightRecord;
    std::optional<FlightRecord::Scope> event;
    if (record_)
      event.emplace(record_, *copies_, FlightRecord::What::kBatch, FlightRecord::On::kBatchCopies,
                    FlightRecord::kNone);
    copies_->copy(place.memory.data(), place.pinned.data(), at.bytes);
  }
  place.copied = copies_->record();
  compute.wait(place.copied);
  return arrays_at(place.memory.data(), at, !rows.memory_rows().empty());
}

}  // namespace th::model
