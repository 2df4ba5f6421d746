#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <memory>

namespace th::runtime {

/// Memory that a task touches, for backends that check the order of accesses; others ignore it. 0
/// bytes are no access.
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

/// A point in a stream (cudaEvent_t). It has passed when everything enqueued before it has run. A
/// default event has passed.
struct Event {
  Stream* stream = nullptr;
  std::int64_t position = 0;  ///< the stream's number for the point
};

/// Nanoseconds of the node's monotonic clock, which all processes of the node share.
[[nodiscard]] inline std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Work that runs in the order in which it is enqueued, beside other streams (cudaStream_t):
/// compute, communication or copies. It runs on the host (on the calling thread, or on one of its
/// own) or on a device. One thread enqueues, records and waits.
///
/// A task's body makes the calls whose work belongs to the stream: copies, kernels of the device,
/// collectives. It may run at once, on another thread, or when somebody waits for it, and so may
/// the work that it calls for. The results of a task are there when an event that was recorded
/// after it has passed; until then, what the task refers to must live. An error of a task is thrown
/// by the next call that waits for this stream, or by enqueue(); tasks after it are dropped.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  using Body = std::function<void()>;
  virtual void enqueue(const char* name, Body body, std::initializer_list<Access> accesses) = 0;
  /// Declares what calls touch that follow this stream without tasks (the model's kernels).
  virtual void touch(const char* /*name*/, std::initializer_list<Access> /*accesses*/) {}
  /// Copies between device memory and host memory in any direction, within a task of this stream or
  /// as a task of its own. Host memory that is not pinned may make the host wait.
  virtual void copy(void* to, const void* from, std::int64_t bytes) = 0;
  /// Zeroes memory of the device, in the same way.
  virtual void clear(void* memory, std::int64_t bytes) = 0;
  /// The point after everything that was enqueued so far.
  [[nodiscard]] virtual Event record() = 0;
  /// Makes everything that is enqueued later run after `event` (cudaStreamWaitEvent).
  virtual void wait(const Event& event) = 0;
  /// Waits until everything that was enqueued has run (cudaStreamSynchronize).
  virtual void drain() = 0;
  /// Whether the caller may make host calls of the kind that this stream's bodies make (MPI's): if
  /// it is such a body, or none is pending.
  [[nodiscard]] virtual bool admits_caller() const noexcept = 0;
  /// Waits until the bodies of all tasks have run. The caller then sees what they left on the host;
  /// what they called for may still run on a device. This orders no accesses to memory of the
  /// tasks. If bodies run as they are enqueued, there is nothing to wait for.
  virtual void run_bodies() = 0;
  /// Waits until a recorded position has passed.
  virtual void reach(std::int64_t position) = 0;

  /// Nanoseconds that the thread which made the stream has waited for its tasks.
  [[nodiscard]] virtual std::int64_t waited_ns() const noexcept { return 0; }

  /// A function that gets the time at which the stream came to this point. A host's stream calls it
  /// at once, a device's stream in a later Device::settle().
  using Stamp = std::function<void(std::int64_t ns)>;
  virtual void stamp(const Stamp& stamp) { stamp(monotonic_ns()); }
};

/// The calling thread as a stream: a task runs as it is enqueued.
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

/// A stream with a thread of its own, which takes no signals. Its destructor runs what is pending,
/// because other ranks wait for it.
[[nodiscard]] std::unique_ptr<Stream> make_thread_stream();

}  // namespace th::runtime
