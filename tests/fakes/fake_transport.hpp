#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fake_device.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/collectives.hpp"

namespace th_test {

/// The transport of tensors on a FakeDevice: its buffers are that device's memory, which it stages
/// through `host`. Calls that move data must come out of a task of the stream that it was told to
/// use.
class FakeTransport final : public th::runtime::Collectives {
 public:
  FakeTransport(th::runtime::Collectives& host, FakeDevice& device)
      : host_(host), device_(device) {}

  [[nodiscard]] th::runtime::ControlCalls& control() const noexcept override {
    return host_.control();
  }
  void use_stream(th::runtime::Stream* stream) override { stream_ = stream; }
  [[nodiscard]] std::unique_ptr<th::runtime::TransportBuffer> allocate(
      std::int64_t bytes) override {
    auto made = std::make_unique<Buffer>();
    made->memory = th::runtime::DeviceBlock(device_, th::runtime::Place::kDevice, bytes);
    const th::runtime::MemoryScope scope(th::runtime::MemoryClass::kUntagged);  // of the test
    made->staged = host_.allocate(bytes);
    return made;
  }
  [[nodiscard]] std::vector<th::runtime::Contribution> exchange(
      th::runtime::TransportBuffer& buffer, const th::runtime::RankParts& parts,
      const th::runtime::SubtreeSum* sum) override {
    expect_task();
    copy(buffer, parts.offset, parts.size * size());
    std::vector<th::runtime::Contribution> pieces = host_.exchange(staged(buffer), parts);
    if (sum != nullptr) pieces.resize(static_cast<std::size_t>(sum->present));
    return pieces;
  }
  void finish_exchange() override {
    if (!gathered_) host_.finish_exchange();
    gathered_ = false;
  }
  void all_gather(th::runtime::TransportBuffer& buffer, const th::runtime::RankParts& parts,
                  std::byte* full, th::runtime::TransportBuffer* /*within*/) override {
    expect_task();
    copy(buffer, parts.of(rank()), parts.size);
    if (full != buffer.data() + parts.offset) return host_.all_gather(staged(buffer), parts, full);
    std::byte* in_place = staged(buffer).data() + parts.offset;
    host_.all_gather(staged(buffer), parts, in_place);
    std::memcpy(full, in_place, static_cast<std::size_t>(parts.size * size()));
  }
  [[nodiscard]] std::vector<const std::byte*> shards(th::runtime::TransportBuffer& buffer,
                                                     const th::runtime::RankParts& parts) override {
    gathered_ = true;
    return Collectives::shards(buffer, parts);
  }
  void all_reduce_fast(float* data, std::int64_t count) override {
    expect_task();
    host_.all_reduce_fast(data, count);
  }
  [[nodiscard]] th::runtime::ByteCounters bytes_sent() const noexcept override {
    return host_.bytes_sent();
  }
  [[nodiscard]] th::runtime::NodeMap nodes() const override { return host_.nodes(); }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return host_.communication_bytes();
  }
  [[nodiscard]] std::string description() const override {
    return "a fake device over " + host_.description();
  }

 private:
  struct Buffer final : th::runtime::TransportBuffer {
    [[nodiscard]] std::byte* data() noexcept override { return memory.data(); }
    [[nodiscard]] std::int64_t bytes() const noexcept override { return memory.bytes(); }
    th::runtime::DeviceBlock memory;
    std::unique_ptr<th::runtime::TransportBuffer> staged;
  };
  void expect_task() const {
    th::ensure(stream_ != nullptr && device_.streams().runs(*stream_),
               "a transport was called outside of its stream");
  }
  static th::runtime::TransportBuffer& staged(th::runtime::TransportBuffer& buffer) {
    return *static_cast<Buffer&>(buffer).staged;
  }
  static void copy(th::runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t size) {
    std::memcpy(staged(buffer).data() + offset, buffer.data() + offset,
                static_cast<std::size_t>(size));
  }

  th::runtime::Collectives& host_;
  FakeDevice& device_;
  th::runtime::Stream* stream_ = nullptr;
  bool gathered_ = false;  ///< shards() lie in the device's own buffer: nobody reads a peer
};

}  // namespace th_test
