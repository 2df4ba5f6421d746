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

  [[nodiscard]] int rank() const noexcept override { return host_.rank(); }
  [[nodiscard]] int size() const noexcept override { return host_.size(); }
  void use_stream(th::runtime::Stream* stream) override { stream_ = stream; }
  [[nodiscard]] std::unique_ptr<th::runtime::TransportBuffer> allocate(
      std::int64_t elements) override {
    auto made = std::make_unique<Buffer>();
    made->memory = th::runtime::DeviceBlock(device_, th::runtime::Place::kDevice, elements * 4);
    const th::runtime::MemoryScope scope(th::runtime::MemoryClass::kUntagged);  // of the test
    made->staged = host_.allocate(elements);
    return made;
  }
  [[nodiscard]] std::vector<const float*> exchange(th::runtime::TransportBuffer& buffer,
                                                   std::int64_t offset,
                                                   std::int64_t slice) override {
    expect_task();
    copy(buffer, offset, slice * size());
    return host_.exchange(staged(buffer), offset, slice);
  }
  void finish_exchange() override {
    if (!gathered_) host_.finish_exchange();
    gathered_ = false;
  }
  void all_gather(th::runtime::TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                  std::int64_t slice, float* full) override {
    expect_task();
    copy(buffer, offset + stride * rank(), slice);
    if (full != buffer.data() + offset)
      return host_.all_gather(staged(buffer), offset, stride, slice, full);
    float* in_place = staged(buffer).data() + offset;
    host_.all_gather(staged(buffer), offset, stride, slice, in_place);
    std::memcpy(full, in_place, bytes(slice * size()));
  }
  [[nodiscard]] std::vector<const float*> shards(th::runtime::TransportBuffer& buffer,
                                                 std::int64_t offset, std::int64_t slice) override {
    gathered_ = true;
    return Collectives::shards(buffer, offset, slice);
  }
  void all_reduce_fast(float* data, std::int64_t count) override {
    expect_task();
    host_.all_reduce_fast(data, count);
  }
  void sum_in_rank_order(std::span<double> values) override { host_.sum_in_rank_order(values); }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    host_.all_gather_doubles(mine, all);
  }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override { return host_.maximum(value); }
  void broadcast(std::string& text, int root) override { host_.broadcast(text, root); }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    return host_.gather_texts(text);
  }
  void barrier() override { host_.barrier(); }
  [[nodiscard]] const th::runtime::ByteCounters& bytes_sent() const noexcept override {
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
    [[nodiscard]] float* data() noexcept override { return memory.as<float>(); }
    [[nodiscard]] std::int64_t elements() const noexcept override { return memory.bytes() / 4; }
    th::runtime::DeviceBlock memory;
    std::unique_ptr<th::runtime::TransportBuffer> staged;
  };
  void expect_task() const {
    th::ensure(stream_ != nullptr && device_.streams().runs(*stream_),
               "a transport was called outside of its stream");
  }
  static std::size_t bytes(std::int64_t elements) {
    return static_cast<std::size_t>(elements) * sizeof(float);
  }
  static th::runtime::TransportBuffer& staged(th::runtime::TransportBuffer& buffer) {
    return *static_cast<Buffer&>(buffer).staged;
  }
  static void copy(th::runtime::TransportBuffer& buffer, std::int64_t offset,
                   std::int64_t elements) {
    std::memcpy(staged(buffer).data() + offset, buffer.data() + offset, bytes(elements));
  }

  th::runtime::Collectives& host_;
  FakeDevice& device_;
  th::runtime::Stream* stream_ = nullptr;
  bool gathered_ = false;  ///< shards() lie in the device's own buffer: nobody reads a peer
};

}  // namespace th_test
