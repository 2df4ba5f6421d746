#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "th/data/batch.hpp"
#include "th/model/memory/packed_rows.hpp"
#include "th/runtime/device/device.hpp"
#include "th/runtime/observe/flight_record.hpp"

namespace th::model {

/// The arrays that kernels read of a packed batch of B sentences, in the kernels' memory.
struct BatchArrays {
  const std::int64_t* source = nullptr;          ///< ids [source rows]
  const std::int64_t* target_in = nullptr;       ///< ids [target rows]
  const std::int64_t* target_out = nullptr;      ///< labels [target rows]
  const std::int64_t* source_offsets = nullptr;  ///< [B+1]
  const std::int64_t* target_offsets = nullptr;  ///< [B+1]
  const std::int32_t* source_lengths = nullptr;  ///< [B]
  const std::int32_t* source_places = nullptr;   ///< [source rows]
  const std::int32_t* target_places = nullptr;   ///< [target rows]
  // Of the encoder states that cross attention sees (PackedRows::memory_offsets).
  const std::int64_t* memory_offsets = nullptr;  ///< [B+1]
  const std::int32_t* memory_lengths = nullptr;  ///< [B]
  const std::int64_t* memory_rows = nullptr;     ///< source rows; null: all of them
  /// Blocks of one attention (AttentionBlocks); null if its rule is not local.
  struct Spans {
    const op::RowSpan *queries = nullptr, *keys = nullptr;
  };
  Spans encoder, decoder, cross;
};

/// The batch's own arrays, for kernels of the host.
[[nodiscard]] BatchArrays host_arrays(const data::Batch& batch, const PackedRows& rows);

/// Copies batches to a device with memory of its own, through pinned memory on a separate stream,
/// into two places in turn. So a batch is copied while the one before is computed, and the host
/// waits for neither.
class BatchCopies {
 public:
  /// `device` outlives this object.
  explicit BatchCopies(runtime::Device& device);
  ~BatchCopies();
  BatchCopies(const BatchCopies&) = delete;
  BatchCopies& operator=(const BatchCopies&) = delete;

  /// From here on copies are events of `record`.
  void record_on(std::shared_ptr<runtime::FlightRecord> record) { record_ = std::move(record); }

  /// Enqueues the copy, and makes compute() wait for it. Work that is enqueued on compute() before
  /// the next call but one may read the arrays. Throws MemoryError.
  [[nodiscard]] BatchArrays take(const data::Batch& batch, const PackedRows& rows);

  /// Bytes of the two places, on the device and again in pinned memory, once this is the largest
  /// batch: powers of two from 64 KiB on, so that batches of like sizes share them.
  [[nodiscard]] static std::int64_t bytes(const PackedRows& rows);

 private:
  struct Place {
    runtime::DeviceBlock pinned, memory;
    runtime::Event copied;  ///< of the copies: the batch is here
    runtime::Event used;    ///< of compute: the batch was read
  };
  void grow(std::int64_t bytes);

  runtime::Device& device_;
  std::unique_ptr<runtime::Stream> copies_;
  std::shared_ptr<runtime::FlightRecord> record_;  ///< null: nowhere
  std::array<Place, 2> places_;
  std::size_t turn_ = 0;  ///< of the place that was taken last
};

}  // namespace th::model
