#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>

namespace th::runtime {

/// Memory that a task touches: for backends that check the order of accesses; others do not look at
/// it. No bytes: no access.
struct Access {
  enum class Kind { kRead, kWrite };
  Kind kind = Kind::kRead;
  const void* begin = nullptr;
  std::int64_t bytes = 0;
};
[[nodiscard]] inline Access reads(const void* begin, std::int64_t bytes) {
  return {Access::Kind::kRead, begin, bytes};
}
[[nodiscard]] inline Access writes(const void* begin, std::int64_t bytes) {
  return {Access::Kind::kWrite, begin, bytes};
}

class Stream;

/// A point in a stream (cudaEvent_t): it has passed when all that was enqueued before it has run. A
/// default one has passed.
struct Event {
  Stream* stream = nullptr;
  std::int64_t position = 0;  ///< a number that the stream knows the point by
};

/// Nanoseconds of the node's monotonic clock, alike for all processes of a node.
[[nodiscard]] inline std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Work that runs in the order in which it is enqueued, beside other streams (cudaStream_t):
/// compute, communication, copies; of the host (the calling thread, or one of its own) or of a
/// device. One thread enqueues, records and waits.
///
/// A task's body makes the calls whose work belongs to the stream: copies, kernels of the device,
/// collectives. It may run at once, on another thread, or when somebody waits for it, and so may
/// the work that it calls for: what a task does is there when an event recorded after it has
/// passed, and what it refers to lives as long. An error of a task comes out of the next call that
/// waits for this stream, or of the enqueuing; tasks after it are dropped.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  using Body = std::function<void()>;
  virtual void enqueue(const char* name, Body body, std::initializer_list<Access> accesses) = 0;
  /// What is touched on this stream outside of tasks, by calls that follow the stream by themselves
  /// (the model's kernels).
  virtual void touch(const char* /*name*/, std::initializer_list<Access> /*accesses*/) {}
  /// Within a task of this stream, or a task of its own. Between device memory and host memory in
  /// any direction; host memory that is not pinned may make the host wait.
  virtual void copy(void* to, const void* from, std::int64_t bytes) = 0;
  /// The same: zeroes memory of the device.
  virtual void clear(void* memory, std::int64_t bytes) = 0;
  /// The point behind all that was enqueued so far.
  [[nodiscard]] virtual Event record() = 0;
  /// What is enqueued from here on runs after `event` (cudaStreamWaitEvent).
  virtual void wait(const Event& event) = 0;
  /// The caller waits until all that was enqueued has run (cudaStreamSynchronize).
  virtual void drain() = 0;
  /// Whether the caller may make calls of the kind that this stream's bodies make on the host
  /// (MPI's): it is one of them, or none is pending.
  [[nodiscard]] virtual bool admits_caller() const noexcept = 0;
  /// The caller waits until the bodies of all tasks have run, and sees what they left on the host;
  /// what they called for may go on on a device. Orders no memory of the tasks. Nothing to wait for
  /// where bodies run as they are enqueued.
  virtual void run_bodies() = 0;
  /// The caller waits until a recorded position has passed.
  virtual void reach(std::int64_t position) = 0;

  /// Nanoseconds that the thread which made the stream has waited for its tasks.
  [[nodiscard]] virtual std::int64_t waited_ns() const noexcept { return 0; }

  /// Called with the time at which the stream was here: by the host's streams at once, by a
  /// device's one in a later Device::settle().
  using Stamp = std::function<void(std::int64_t ns)>;
  virtual void stamp(const Stamp& stamp) { stamp(monotonic_ns()); }
};

/// The calling thread as a stream: what is enqueued has run.
class InlineStream final : public Stream {
 public:
  void enqueue(const char* /*name*/, Body body,
               std::initializer_list<Access> /*accesses*/) override {
    body();
  }
  void copy(void* to, const void* from, std::int64_t bytes) override {
    if (to != from) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  void clear(void* memory, std::int64_t bytes) override {
    std::memset(memory, 0, static_cast<std::size_t>(bytes));
  }
  [[nodiscard]] Event record() override { return {}; }
  void wait(const Event& event) override {
    if (event.stream != nullptr) event.stream->reach(event.position);
  }
  void drain() override {}
  [[nodiscard]] bool admits_caller() const noexcept override { return true; }
  void run_bodies() override {}
  void reach(std::int64_t /*position*/) override {}
};

/// A thread of its own, which takes no signals. Its destructor runs what is pending, for the peers'
/// sake.
[[nodiscard]] std::unique_ptr<Stream> make_thread_stream();

}  // namespace th::runtime
