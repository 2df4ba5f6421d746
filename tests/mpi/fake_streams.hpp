#pragma once

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "th/base/hash.hpp"
#include "th/runtime/stream.hpp"

namespace th_test {

/// Streams of one thread that run tasks as late as events allow, or at moments of chance that events allow, and that check the order of
/// accesses by what events guarantee alone (a vector clock a stream), whatever order a run happens to take: of two accesses to the same
/// bytes, one of them a write, the later one must come after an event of the earlier one. Tasks of compute, the first stream, run at once,
/// as the caller is compute.
class FakeStreams {
 public:
  enum class Pace { kLatest, kChance };
  /// What becomes of a wait that is left out: nobody waits, or only the guarantee is gone and the run goes as before.
  enum class Drop { kReally, kGuaranteeAlone };

  explicit FakeStreams(Pace pace, std::uint64_t seed = 0) : pace_(pace), seed_(seed) {}
  /// Leaves out the `number`-th of the waits that guarantee something which nothing before guarantees.
  void leave_out(std::int64_t number, Drop drop) {
    left_out_ = number;
    drop_ = drop;
  }

  /// Another stream; the first one is compute. All live as long as this.
  [[nodiscard]] std::unique_ptr<th::runtime::Stream> add() {
    lanes_.push_back(std::make_unique<Lane>());
    for (const auto& lane : lanes_) lane->clock.resize(lanes_.size(), 0);
    return std::make_unique<Handle>(*this, lanes_.size() - 1);
  }
  [[nodiscard]] th::runtime::Streams make() {
    th::runtime::Streams out;
    out.compute = add();
    out.communication = add();
    return out;
  }

  [[nodiscard]] const std::vector<std::string>& violations() const noexcept { return violations_; }
  /// Waits that guaranteed something new.
  [[nodiscard]] std::int64_t waits() const noexcept { return waits_; }
  [[nodiscard]] std::int64_t accesses() const noexcept { return accesses_; }
  /// Tasks that ran later than they were enqueued.
  [[nodiscard]] std::int64_t delayed() const noexcept { return delayed_; }

 private:
  using Clock = std::vector<std::int64_t>;
  using Access = th::runtime::Access;
  static constexpr std::size_t kCompute = 0;

  struct Item {
    th::runtime::Stream::Body body;
    th::runtime::Event wait;  ///< of another stream, where there is no body
  };
  struct Lane {
    std::deque<Item> pending;
    std::int64_t enqueued = 0, done = 0;
    int running = 0;
    Clock clock;
    std::map<std::int64_t, Clock> at;  ///< the clock at recorded positions
  };
  struct Past {
    Access access;
    std::size_t lane;
    std::int64_t time;
    std::string name;
  };

  class Handle final : public th::runtime::Stream {
   public:
    Handle(FakeStreams& all, std::size_t lane) : all_(all), lane_(lane) {}
    ~Handle() override { all_.run_to(lane_, all_.lane(lane_).enqueued); }
    void enqueue(const char* name, Body body, std::initializer_list<Access> accesses) override {
      all_.enqueue(lane_, name, std::move(body), accesses);
    }
    void touch(const char* name, std::initializer_list<Access> accesses) override { all_.note(lane_, name, accesses); }
    th::runtime::Event record() override { return {this, all_.record(lane_)}; }
    void wait(const th::runtime::Event& event) override { all_.wait(lane_, event); }
    void drain() override {
      all_.run_to(lane_, all_.lane(lane_).enqueued);
      all_.join(all_.lane(kCompute).clock, all_.lane(lane_).clock);
    }
    [[nodiscard]] bool admits_caller() const noexcept override { return all_.lane(lane_).running > 0 || all_.lane(lane_).pending.empty(); }
    void reach(std::int64_t position) override { all_.run_to(lane_, position); }
    [[nodiscard]] std::size_t lane() const noexcept { return lane_; }

   private:
    FakeStreams& all_;
    std::size_t lane_;
  };

  [[nodiscard]] Lane& lane(std::size_t at) { return *lanes_[at]; }
  [[nodiscard]] static std::size_t lane_of(const th::runtime::Event& event) { return static_cast<const Handle*>(event.stream)->lane(); }

  static bool join(Clock& to, const Clock& from) {
    bool news = false;
    for (std::size_t l = 0; l < from.size(); ++l) {
      news = news || from[l] > to[l];
      to[l] = std::max(to[l], from[l]);
    }
    return news;
  }

  void enqueue(std::size_t at, const char* name, th::runtime::Stream::Body body, std::initializer_list<Access> accesses) {
    note(at, name, accesses);
    Lane& l = lane(at);
    ++l.enqueued;
    if (at == kCompute) {
      ++l.done;
      body();
    } else {
      l.pending.push_back({std::move(body), {}});
    }
    by_chance();
  }

  void note(std::size_t at, const char* name, std::initializer_list<Access> accesses) {
    Clock& clock = lane(at).clock;
    ++clock[at];
    for (const Access& access : accesses) {
      ++accesses_;
      for (const Past& past : history_) {
        const bool writes = access.kind == Access::Kind::kWrite || past.access.kind == Access::Kind::kWrite;
        const auto* a = static_cast<const char*>(access.begin);
        const auto* b = static_cast<const char*>(past.access.begin);
        if (!writes || a >= b + past.access.bytes || b >= a + access.bytes || clock[past.lane] >= past.time) continue;
        violations_.push_back(std::string(name) + (access.kind == Access::Kind::kWrite ? " writes" : " reads") + " what " + past.name +
                              (past.access.kind == Access::Kind::kWrite ? " writes" : " reads") + ", with no event between them");
      }
    }
    for (const Access& access : accesses) history_.push_back({access, at, clock[at], name});
    std::erase_if(history_, [&](const Past& past) {
      return std::all_of(lanes_.begin(), lanes_.end(), [&](const auto& l) { return l->clock[past.lane] >= past.time; });
    });
    by_chance();
  }

  std::int64_t record(std::size_t at) {
    Lane& l = lane(at);
    if (!l.at.contains(l.enqueued) || l.at[l.enqueued] != l.clock) {  // another position where the clock has moved on
      if (l.at.contains(l.enqueued)) enqueue(at, "record", [] {}, {});
      l.at[l.enqueued] = l.clock;
    }
    return l.enqueued;
  }

  void wait(std::size_t at, const th::runtime::Event& event) {
    if (event.stream == nullptr) return;
    const std::size_t of = lane_of(event);
    Lane& l = lane(at);
    Clock joined = l.clock;
    const bool news = join(joined, lane(of).at.at(event.position));
    const bool left_out = news && waits_++ == left_out_;
    if (!left_out) l.clock = joined;
    if (left_out && drop_ == Drop::kReally) return;
    if (at == kCompute) return run_to(of, event.position);
    ++l.enqueued;
    l.pending.push_back({{}, event});
    by_chance();
  }

  void run_to(std::size_t at, std::int64_t position) {
    Lane& l = lane(at);
    while (l.done < position && !l.pending.empty()) {
      const Item item = std::move(l.pending.front());
      l.pending.pop_front();
      ++delayed_;
      ++l.running;
      if (item.body) item.body();
      if (!item.body) run_to(lane_of(item.wait), item.wait.position);
      --l.running;
      ++l.done;
    }
  }

  /// With kChance, some of what is pending runs now.
  void by_chance() {
    if (pace_ != Pace::kChance || choosing_) return;
    choosing_ = true;
    for (std::size_t at = 1; at < lanes_.size(); ++at) {
      Lane& l = lane(at);
      if (l.running == 0 && th::hash_pair(seed_, draws_++) % 3 == 0) run_to(at, l.done + 1);
    }
    choosing_ = false;
  }

  Pace pace_;
  std::uint64_t seed_;
  std::uint64_t draws_ = 0;
  bool choosing_ = false;
  std::int64_t left_out_ = -1;
  Drop drop_ = Drop::kReally;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Past> history_;
  std::vector<std::string> violations_;
  std::int64_t waits_ = 0, accesses_ = 0, delayed_ = 0;
};

}  // namespace th_test
