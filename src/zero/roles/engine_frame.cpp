#include "zero/roles/engine_frame.hpp"

#include "th/base/error.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/zero/host_device.hpp"

namespace th::zero {

EngineFrame::EngineFrame(const config::RunConfig& run, const model::Transformer& model,
                         runtime::Collectives& transport, std::int64_t slots_of_a_step,
                         runtime::Device* given_device)
    : config(run),
      collectives(transport),
      own_device(given_device == nullptr ? std::make_unique<HostDevice>() : nullptr),
      device(given_device == nullptr ? *own_device : *given_device),
      tensor_device(model.device().tensors),
      policy(zero_policy(config)),
      layout(model.units(), collectives.size()),
      use(unit_use(model)),
      buffers(engine_buffers(config, layout, use, slots_of_a_step, device.memory())),
      dealing(slot_dealing(config, slots_of_a_step, collectives.size())),
      slots(dealing.slots),
      rounds(dealing.passes()),
      rank(collectives.rank()),
      ranks(dealing.ranks),
      flight(std::make_shared<runtime::FlightRecord>()),
      compute(device.compute()),
      own_communication(config.comm.overlap == config::Overlap::kOn
                            ? device.make_stream(runtime::StreamUse::kCommunication)
                            : nullptr),
      own_copies(own_communication && buffers.parameters_on_host
                     ? device.make_stream(runtime::StreamUse::kCopies)
                     : nullptr),
      communication(own_communication ? *own_communication : compute),
      copies(own_copies ? *own_copies : communication) {
  ensure(slots >= ranks, "fewer slots than ranks");
  collectives.use_stream(&communication);
}

EngineFrame::~EngineFrame() = default;

void EngineFrame::end_streams() noexcept {
  try {
    compute.drain();        // its tasks use what goes
  } catch (const Error&) {  // the error that ended the run was reported
  }
  own_copies.reset();
  own_communication.reset();
  collectives.use_stream(nullptr);
}

void EngineFrame::settle() const {
  compute.drain();
  communication.drain();
  copies.drain();
  device.settle();
}

runtime::DeviceBlock take_block(const EngineFrame& frame, runtime::MemoryClass kind,
                                std::int64_t bytes) {
  const runtime::MemoryScope scope(kind);
  return {frame.device, runtime::Place::kDevice, bytes};
}

std::unique_ptr<runtime::TransportBuffer> take_buffer(const EngineFrame& frame,
                                                      runtime::MemoryClass kind,
                                                      std::int64_t elements, ElementType type) {
  const runtime::MemoryScope scope(kind);
  return frame.collectives.allocate(elements * element_size(type));
}

}  // namespace th::zero
