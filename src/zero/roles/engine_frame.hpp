#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "th/config/run_config.hpp"
#include "th/runtime/device/device.hpp"
#include "th/runtime/device/stream.hpp"
#include "th/runtime/observe/flight_record.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"
#include "zero/sizes.hpp"

namespace th::model {
class Transformer;
}

namespace th::zero {

/// What the roles of an engine share: the run, the layout of its units, ranks, device and streams.
struct EngineFrame {
  EngineFrame(const config::RunConfig& run, const model::Transformer& model,
              runtime::Collectives& transport, std::int64_t slots_of_a_step,
              runtime::Device* given_device);
  ~EngineFrame();
  EngineFrame(const EngineFrame&) = delete;
  EngineFrame& operator=(const EngineFrame&) = delete;

  /// Waits for compute, then ends the streams beside it: their tasks use the memory of the roles,
  /// so this comes before the roles go.
  void end_streams() noexcept;
  /// Waits for everything that was enqueued; the flight record has its times then.
  void settle() const;
  [[nodiscard]] const FlatLayout::Unit& unit(std::int64_t number) const {
    return layout.units()[index(number)];
  }
  [[nodiscard]] std::int64_t units() const { return std::ssize(layout.units()); }

  config::RunConfig config;
  runtime::Collectives& collectives;
  std::unique_ptr<runtime::Device> own_device;  ///< of an engine that was given no device
  runtime::Device& device;
  at::Device tensor_device;  ///< of the model's tensors
  ZeroPolicy policy;
  FlatLayout layout;
  UnitUse use;
  EngineBuffers buffers;
  SlotDealing dealing;
  std::int64_t slots, rounds;  ///< of a step; rounds: passes of a rank
  std::int64_t rank, ranks;
  std::shared_ptr<runtime::FlightRecord> flight;
  runtime::Stream& compute;
  std::unique_ptr<runtime::Stream> own_communication, own_copies;  ///< null: they are compute
  runtime::Stream& communication;
  runtime::Stream& copies;  ///< of shards in host memory to their gathers
};

/// Ends the frame's streams when it goes: the last member of an engine.
struct StreamsEnd {
  explicit StreamsEnd(EngineFrame& its_frame) noexcept : frame(its_frame) {}
  ~StreamsEnd() { frame.end_streams(); }
  StreamsEnd(const StreamsEnd&) = delete;
  StreamsEnd& operator=(const StreamsEnd&) = delete;
  EngineFrame& frame;
};

/// An element of `type` in a buffer.
[[nodiscard]] inline std::byte* element_at(void* buffer, std::int64_t element, ElementType type) {
  return static_cast<std::byte*>(buffer) + element * element_size(type);
}

/// Memory of the frame's device, counted in a class.
[[nodiscard]] runtime::DeviceBlock take_block(const EngineFrame& frame, runtime::MemoryClass kind,
                                              std::int64_t bytes);
/// A buffer of the transport, counted in a class. Collective.
[[nodiscard]] std::unique_ptr<runtime::TransportBuffer> take_buffer(const EngineFrame& frame,
                                                                    runtime::MemoryClass kind,
                                                                    std::int64_t elements,
                                                                    ElementType type);

}  // namespace th::zero
