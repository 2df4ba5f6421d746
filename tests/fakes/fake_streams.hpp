#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "access_order.hpp"
#include "th/base/hash.hpp"
#include "th/runtime/device/stream.hpp"

namespace th_test {

/// Streams of one thread that run tasks as late as events allow, as early, or at moments of chance,
/// and that check the order of accesses by what events guarantee alone (AccessOrder), whatever
/// order a run happens to take.
///
/// The first stream is the caller, whose tasks run at once. With Compute::kCaller it is compute
/// too, as in a CPU run, and what it enqueues elsewhere is ordered by events alone; with kDeferred
/// compute is a stream as the others are, and what the caller has done is there for what it
/// enqueues, as with a GPU.
///
/// Time is pretended: a stream takes a nanosecond a byte of the accesses of a task, and follows
/// what it waits for; the caller takes none.
class FakeStreams {
 public:
  /// kCopiesEarly: compute as late as it can, all others as soon as they may.
  enum class Pace { kLatest, kChance, kCopiesEarly };
  enum class Compute { kCaller, kDeferred };

  explicit FakeStreams(Pace pace, std::uint64_t seed = 0, Compute compute = Compute::kCaller)
      : pace_(pace), seed_(seed), compute_(compute), order_(compute == Compute::kDeferred) {
    host_ = add();
    if (compute == Compute::kDeferred) compute_stream_ = add();
  }
  /// Nobody waits for the `number`-th of order().waits().
  void leave_out(std::int64_t number) { order_.leave_out(number); }
  /// What device memory asks for: `open` around everything that runs on another stream than the
  /// caller's, `move` in place of memmove.
  struct Memory {
    std::function<void()> open, close;
    std::function<void(void* to, const void* from, std::int64_t bytes)> move;
  };
  void set_memory(Memory memory) { memory_ = std::move(memory); }

  [[nodiscard]] th::runtime::Stream& host() { return *host_; }
  [[nodiscard]] th::runtime::Stream& compute() {
    return compute_stream_ ? *compute_stream_ : *host_;
  }
  /// Another stream; it lives no longer than this.
  [[nodiscard]] std::unique_ptr<th::runtime::Stream> add() {
    lanes_.push_back(std::make_unique<Lane>());
    order_.add_stream();
    return std::make_unique<Handle>(*this, lanes_.size() - 1);
  }
  /// While it lives the caller is a kernel of compute: what was enqueued there has run, and what is
  /// enqueued there meanwhile runs at once.
  class Kernel {
   public:
    explicit Kernel(FakeStreams& all) : all_(all) {
      Lane& lane = all_.lane(all_.compute_lane());
      all_.run_to(all_.compute_lane(), lane.enqueued);
      ++lane.at_once;
      all_.memory_.open();
    }
    ~Kernel() {
      --all_.lane(all_.compute_lane()).at_once;
      all_.memory_.close();
    }
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

   private:
    FakeStreams& all_;
  };
  /// Within a task of `stream`: at once; else as a task.
  void run(th::runtime::Stream& stream, const char* name, th::runtime::Stream::Body body) {
    runs(stream) ? body() : stream.enqueue(name, std::move(body), {});
  }
  /// Whether a task of `stream` runs.
  [[nodiscard]] bool runs(th::runtime::Stream& stream) {
    return lane(dynamic_cast<Handle&>(stream).lane()).running > 0;
  }

  /// All that was enqueued anywhere runs; orders nothing.
  void drain_all() {
    for (std::size_t at = 0; at < lanes_.size(); ++at) run_to(at, lane(at).enqueued);
  }

  [[nodiscard]] const AccessOrder& order() const noexcept { return order_; }
  [[nodiscard]] const std::vector<std::string>& violations() const noexcept {
    return order_.violations();
  }
  /// Tasks that ran later than they were enqueued.
  [[nodiscard]] std::int64_t delayed() const noexcept { return delayed_; }

 private:
  using Access = th::runtime::Access;
  static constexpr std::size_t kHost = 0;

  struct Item {
    th::runtime::Stream::Body body;
    th::runtime::Event wait;              ///< of another stream, where there is no body
    std::int64_t cost = 0, earliest = 0;  ///< ns; the caller's time when it was enqueued
  };
  struct Lane {
    std::deque<Item> pending;
    std::int64_t enqueued = 0, done = 0;
    int running = 0, at_once = 0;
    std::int64_t time = 0, due = 0;      ///< ns; of the running task what was not yet added
    std::vector<std::int64_t> times{0};  ///< by position, of those that were reached
  };

  class Handle final : public th::runtime::Stream {
   public:
    Handle(FakeStreams& all, std::size_t lane) : all_(all), lane_(lane) {}
    ~Handle() override { all_.run_to(lane_, all_.lane(lane_).enqueued); }
    void enqueue(const char* name, Body body, std::initializer_list<Access> accesses) override {
      all_.enqueue(lane_, name, std::move(body), accesses);
    }
    void touch(const char* name, std::initializer_list<Access> accesses) override {
      all_.touch(lane_, name, accesses);
    }
    void copy(void* to, const void* from, std::int64_t bytes) override {
      const auto move = [this, to, from, bytes] { all_.memory_.move(to, from, bytes); };
      if (all_.lane(lane_).running > 0) return move();
      enqueue("copy", move, {th::runtime::reads(from, bytes), th::runtime::writes(to, bytes)});
    }
    void clear(void* memory, std::int64_t bytes) override {
      const auto zero = [memory, bytes] {
        std::memset(memory, 0, static_cast<std::size_t>(bytes));
      };
      if (all_.lane(lane_).running > 0) return zero();
      enqueue("clear", zero, {th::runtime::writes(memory, bytes)});
    }
    th::runtime::Event record() override { return {this, all_.record(lane_)}; }
    void wait(const th::runtime::Event& event) override { all_.wait(lane_, event); }
    void drain() override {
      all_.run_to(lane_, all_.lane(lane_).enqueued);
      all_.order_.drain(lane_);
      all_.hold_host(all_.lane(lane_).time);
    }
    [[nodiscard]] bool admits_caller() const noexcept override {
      return all_.lane(lane_).running > 0 || all_.lane(lane_).pending.empty();
    }
    void run_bodies() override { all_.run_to(lane_, all_.lane(lane_).enqueued); }
    void reach(std::int64_t position) override {
      all_.run_to(lane_, position);
      all_.order_.reach(lane_, position);
      all_.hold_host(all_.lane(lane_).times[static_cast<std::size_t>(position)]);
    }
    void stamp(const Stamp& stamp) override {
      Lane& l = all_.lane(lane_);
      stamp(kStart + l.time);
      l.time += std::exchange(l.due, 0);
    }
    [[nodiscard]] std::size_t lane() const noexcept { return lane_; }

   private:
    FakeStreams& all_;
    std::size_t lane_;
  };

  static constexpr std::int64_t kStart = 1;  // a record's time 0 is none

  [[nodiscard]] Lane& lane(std::size_t at) { return *lanes_[at]; }
  [[nodiscard]] std::size_t compute_lane() const {
    return compute_ == Compute::kCaller ? kHost : kHost + 1;
  }
  [[nodiscard]] static std::size_t lane_of(const th::runtime::Event& event) {
    return static_cast<const Handle*>(event.stream)->lane();
  }

  void hold_host(std::int64_t time) { lane(kHost).time = std::max(lane(kHost).time, time); }

  void enqueue(std::size_t at, const char* name, th::runtime::Stream::Body body,
               std::initializer_list<Access> accesses) {
    order_.note(at, name, accesses);
    push(at, {std::move(body), {}, cost(at, accesses), lane(kHost).time});
  }
  void push(std::size_t at, Item item) {
    ++lane(at).enqueued;
    lane(at).pending.push_back(std::move(item));
    go_on(at);
  }

  void touch(std::size_t at, const char* name, std::initializer_list<Access> accesses) {
    order_.note(at, name, accesses);
    lane(at).time += cost(at, accesses);
    by_pace();
  }

  /// Of the caller nothing, as it only enqueues, where it is not compute.
  [[nodiscard]] std::int64_t cost(std::size_t at, std::initializer_list<Access> accesses) const {
    std::int64_t sum = 0;
    for (const Access& access : accesses) sum += access.bytes;
    return at == kHost && compute_ == Compute::kDeferred ? 0 : sum;
  }

  std::int64_t record(std::size_t at) {
    if (order_.is_stale(at, lane(at).enqueued))
      push(at, {[] {}, {}, 0, lane(kHost).time});  // another position
    Lane& l = lane(at);
    order_.record(at, l.enqueued);
    if (l.done == l.enqueued) l.times.back() = l.time;  // with what was touched since
    return l.enqueued;
  }

  void wait(std::size_t at, const th::runtime::Event& event) {
    if (event.stream == nullptr) return;
    order_.wait(at, lane_of(event), event.position);
    if (order_.left_out_last()) return;
    push(at, {{}, event, 0, lane(kHost).time});
  }

  /// Of the caller, and of compute while the caller is its kernel, everything runs at once.
  void go_on(std::size_t at) {
    if (at == kHost || lane(at).at_once > 0) run_to(at, lane(at).enqueued);
    by_pace();
  }

  void run_to(std::size_t at, std::int64_t position) {
    Lane& l = lane(at);
    while (l.done < position && !l.pending.empty()) {
      const Item item = std::move(l.pending.front());
      l.pending.pop_front();
      if (at != kHost) ++delayed_;
      ++l.running;
      l.time = std::max(l.time, item.earliest);
      if (item.body) {
        l.due = item.cost;
        if (at != kHost) memory_.open();
        item.body();
        if (at != kHost) memory_.close();
        l.time += std::exchange(l.due, 0);
      } else {
        const std::size_t of = lane_of(item.wait);
        run_to(of, item.wait.position);
        l.time = std::max(l.time, lane(of).times.at(static_cast<std::size_t>(item.wait.position)));
      }
      --l.running;
      ++l.done;
      l.times.push_back(l.time);
      if (at == compute_lane()) by_pace();
    }
  }

  /// Some of what is pending runs now, by the pace.
  void by_pace() {
    if (pace_ == Pace::kLatest || choosing_) return;
    // A task that somebody waits for must not be overtaken by those behind it.
    if (pace_ == Pace::kChance &&
        std::any_of(lanes_.begin(), lanes_.end(), [](const auto& l) { return l->running > 0; }))
      return;
    choosing_ = true;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t at = kHost + 1; at < lanes_.size(); ++at) {
        Lane& l = lane(at);
        if (l.running > 0 || l.pending.empty()) continue;
        if (pace_ == Pace::kChance) {
          if (th::hash_pair(seed_, draws_++) % 3 == 0) run_to(at, l.done + 1);
        } else if (at != compute_lane() && may_run(l)) {
          run_to(at, l.done + 1);
          moved = true;
        }
      }
    }
    choosing_ = false;
  }
  [[nodiscard]] bool may_run(const Lane& l) {
    const Item& next = l.pending.front();
    return next.body || lane(lane_of(next.wait)).done >= next.wait.position;
  }

  Pace pace_;
  std::uint64_t seed_;
  Compute compute_;
  Memory memory_{[] {}, [] {},
                 [](void* to, const void* from, std::int64_t bytes) {
                   if (to != from) std::memmove(to, from, static_cast<std::size_t>(bytes));
                 }};
  std::uint64_t draws_ = 0;
  bool choosing_ = false;
  std::vector<std::unique_ptr<Lane>> lanes_;
  AccessOrder order_;
  std::int64_t delayed_ = 0;
  std::unique_ptr<th::runtime::Stream> host_,
      compute_stream_;  ///< the last members: they run what is pending
};

}  // namespace th_test
