#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/handles/cuda_handles.hpp"
#include "th/runtime/device/stream.hpp"

namespace th::cuda {

/// What the streams of a device share: how the host waits for them, and the times of their stamps.
class StreamContext {
 public:
  /// How the host waits for an event from here on: a transport watches its peers meanwhile. Null:
  /// by CUDA alone.
  using Waiter = std::function<void(const Event& event)>;
  void set_waiter(Waiter waiter) { waiter_ = std::move(waiter); }
  void wait(const Event& event) const { waiter_ ? waiter_(event) : event.synchronize(); }

  /// Records a timed event on `stream`; settle() calls `stamp` once it has passed.
  void stamp(cudaStream_t stream, runtime::Stream::Stamp stamp);
  /// Does not wait.
  void settle();

 private:
  struct Pending {
    Event event;
    runtime::Stream::Stamp stamp;
  };

  Waiter waiter_;
  /// A passed event and its time on the host's clock, from which others are measured: never far
  /// away, as CUDA's difference is a float of milliseconds.
  std::optional<Event> anchor_;
  std::int64_t anchor_ns_ = 0;
  std::deque<Pending> pending_;
  std::vector<Event> spare_;
};

/// A cudaStream_t as the engine's stream: a task's body is called at once and enqueues there. The
/// host waits in drain() and reach() alone; events are cudaEvent_t, reused when they have passed.
class CudaStream final : public runtime::Stream {
 public:
  CudaStream(std::shared_ptr<StreamContext> context, StreamPriority priority);
  /// Another's, which outlives this.
  CudaStream(std::shared_ptr<StreamContext> context, cudaStream_t stream);
  /// An own one is waited for.
  ~CudaStream() override;
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }
  [[nodiscard]] const std::shared_ptr<StreamContext>& context() const noexcept { return context_; }

  void enqueue(const char* /*name*/, Body body,
               std::initializer_list<runtime::Access> /*accesses*/) override {
    body();
  }
  void copy(void* to, const void* from, std::int64_t bytes) override;
  void clear(void* memory, std::int64_t bytes) override;
  [[nodiscard]] runtime::Event record() override;
  void wait(const runtime::Event& event) override;
  void drain() override;
  [[nodiscard]] bool admits_caller() const noexcept override { return true; }
  void run_bodies() override {}
  void reach(std::int64_t position) override;
  void stamp(const Stamp& stamp) override { context_->stamp(stream_, stamp); }

 private:
  /// Of a recorded position; null: it has passed.
  [[nodiscard]] const Event* find(std::int64_t position) const;

  std::shared_ptr<StreamContext> context_;
  std::optional<cuda::Stream> own_;
  cudaStream_t stream_;
  std::int64_t position_ = 0;  ///< of the last record
  std::deque<Event> marks_;    ///< of the last positions: those that may not have passed
  std::vector<Event> spare_;
};

}  // namespace th::cuda
