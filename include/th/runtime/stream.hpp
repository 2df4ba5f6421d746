#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>

namespace th::runtime {

/// Memory that a task touches: for backends that check the order of accesses; others do not look at it.
struct Access {
  enum class Kind { kRead, kWrite };
  Kind kind = Kind::kRead;
  const void* begin = nullptr;
  std::int64_t bytes = 0;
};
[[nodiscard]] inline Access reads(const void* begin, std::int64_t bytes) { return {Access::Kind::kRead, begin, bytes}; }
[[nodiscard]] inline Access writes(const void* begin, std::int64_t bytes) { return {Access::Kind::kWrite, begin, bytes}; }

class Stream;

/// A point in a stream (cudaEvent_t): it has passed when all that was enqueued before it has run. A default one has passed.
struct Event {
  Stream* stream = nullptr;
  std::int64_t position = 0;  ///< tasks of the stream before it
};

/// Work that runs in the order in which it is enqueued, beside other streams (cudaStream_t). One thread enqueues, records and waits.
///
/// A task may run at once, on another thread, or when somebody waits for it: what it does is there when an event recorded after it has
/// passed, and what it refers to lives as long. An error of a task comes out of the next call that waits for this stream; tasks after it
/// are dropped.
class Stream {
 public:
  virtual ~Stream() = default;
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  using Body = std::function<void()>;
  virtual void enqueue(const char* name, Body body, std::initializer_list<Access> accesses) = 0;
  /// What is touched on this stream outside of tasks, by calls that follow the stream by themselves (the model's kernels).
  virtual void touch(const char* /*name*/, std::initializer_list<Access> /*accesses*/) {}
  /// The point behind all that was enqueued so far.
  [[nodiscard]] virtual Event record() = 0;
  /// What is enqueued from here on runs after `event` (cudaStreamWaitEvent).
  virtual void wait(const Event& event) = 0;
  /// The caller waits until all that was enqueued has run (cudaStreamSynchronize).
  virtual void drain() = 0;
  /// Whether the caller may make calls of the kind that this stream's tasks make: it is one of them, or none is pending.
  [[nodiscard]] virtual bool admits_caller() const noexcept = 0;
  /// The caller waits until `position` tasks have run.
  virtual void reach(std::int64_t position) = 0;
};

/// The streams of an engine. Compute is the thread that calls the engine.
struct Streams {
  std::unique_ptr<Stream> compute;
  std::unique_ptr<Stream> communication;
};
/// Every task runs at once, in the caller: nothing overlaps.
[[nodiscard]] Streams inline_streams();
/// Communication runs on a thread of its own, which takes no signals. Its destructor runs what is pending, for the peers' sake.
[[nodiscard]] Streams threaded_streams();

}  // namespace th::runtime
