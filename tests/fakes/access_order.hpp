#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "th/runtime/device/stream.hpp"

namespace th_test {

/// The order of accesses as events guarantee it, a vector clock a stream: of two accesses to the
/// same bytes, one of them a write, the later one must come after an event of the earlier one.
/// Keeps what it was told, so that it can say what it would have found with a wait left out.
class AccessOrder {
 public:
  using Access = th::runtime::Access;
  /// Stream 0 is the caller. `caller_enqueues`: what it has done is there for what it enqueues
  /// elsewhere.
  explicit AccessOrder(bool caller_enqueues) : caller_enqueues_(caller_enqueues) {}

  void add_stream() { apply({Op::kAdd, 0, 0, 0, {}, {}}); }
  void note(std::size_t stream, const char* name, std::vector<Access> accesses) {
    apply({Op::kNote, stream, 0, 0, name, std::move(accesses)});
  }
  void record(std::size_t stream, std::int64_t position) {
    apply({Op::kRecord, stream, 0, position, {}, {}});
  }
  /// Whether something was recorded there that no longer holds what the stream is behind.
  [[nodiscard]] bool is_stale(std::size_t stream, std::int64_t position) const {
    const auto found = at_.find({stream, position});
    Clock now = clocks_[stream];
    if (caller_enqueues_) join(now, clocks_[0]);
    return found != at_.end() && found->second != now;
  }
  void wait(std::size_t stream, std::size_t of, std::int64_t position) {
    apply({Op::kWait, stream, of, position, {}, {}});
  }
  /// The caller waits for a recorded position, and for all of a stream. Never left out.
  void reach(std::size_t of, std::int64_t position) {
    apply({Op::kReach, 0, of, position, {}, {}});
  }
  void drain(std::size_t of) { apply({Op::kDrain, 0, of, 0, {}, {}}); }

  /// Each kind once.
  [[nodiscard]] const std::vector<std::string>& violations() const noexcept { return violations_; }
  /// Waits that guaranteed something which nothing before did.
  [[nodiscard]] std::int64_t waits() const noexcept { return waits_; }
  [[nodiscard]] std::int64_t accesses() const noexcept { return accesses_; }
  /// One of them, for a message: "stream 2 waits for stream 1 after reduce".
  [[nodiscard]] std::string wait_text(std::int64_t number) const {
    return wait_texts_.at(static_cast<std::size_t>(number));
  }
  /// Takes the guarantee of the `number`-th of them away; whether it is one that is asked for now.
  void leave_out(std::int64_t number) noexcept { left_out_ = number; }
  [[nodiscard]] bool left_out_last() const noexcept { return last_was_left_out_; }
  /// What would have been found with it left out and all else as it went.
  [[nodiscard]] std::vector<std::string> violations_without(std::int64_t number) const {
    AccessOrder again(caller_enqueues_);
    again.leave_out(number);
    for (const Op& op : log_) {
      again.apply(op);
      if (!again.violations_.empty()) break;
    }
    return again.violations_;
  }

 private:
  using Clock = std::vector<std::int64_t>;
  struct Op {
    enum Kind { kAdd, kNote, kRecord, kWait, kReach, kDrain } kind;
    std::size_t stream, of;
    std::int64_t position;
    std::string name;
    std::vector<Access> accesses;
  };
  struct Past {
    Access access;
    std::size_t stream;
    std::int64_t time;
    std::string name;
  };

  static bool join(Clock& to, const Clock& from) {
    bool news = false;
    for (std::size_t s = 0; s < from.size(); ++s) {
      news = news || from[s] > to[s];
      to[s] = std::max(to[s], from[s]);
    }
    return news;
  }

  void apply(const Op& op) {
    log_.push_back(op);
    if (op.kind == Op::kAdd) {
      clocks_.emplace_back();
      for (Clock& clock : clocks_) clock.resize(clocks_.size(), 0);
      return;
    }
    Clock& clock = clocks_[op.stream];
    if (caller_enqueues_ && op.stream != 0) join(clock, clocks_[0]);
    switch (op.kind) {
      case Op::kNote:
        return check(op);
      case Op::kRecord:
        at_[{op.stream, op.position}] = clock;
        return;
      case Op::kReach:
        join(clock, at_.at({op.of, op.position}));
        return;
      case Op::kDrain:
        join(clock, clocks_[op.of]);
        return;
      default:
        break;
    }
    Clock joined = clock;
    const bool news = join(joined, at_.at({op.of, op.position}));
    last_was_left_out_ = news && waits_ == left_out_;
    waits_ += news ? 1 : 0;
    if (news)
      wait_texts_.push_back("stream " + std::to_string(op.stream) + " waits for stream " +
                            std::to_string(op.of) + " after " + last_noted_);
    if (!last_was_left_out_) clock = joined;
  }

  void check(const Op& op) {
    Clock& clock = clocks_[op.stream];
    ++clock[op.stream];
    last_noted_ = op.name;
    for (const Access& access : op.accesses) {
      if (access.bytes == 0) continue;
      ++accesses_;
      for (const Past& past : history_) {
        const auto* a = static_cast<const char*>(access.begin);
        const auto* b = static_cast<const char*>(past.access.begin);
        const bool apart =
            a >= b + past.access.bytes || b >= a + access.bytes || clock[past.stream] >= past.time;
        if (apart ||
            (access.kind == Access::Kind::kRead && past.access.kind == Access::Kind::kRead))
          continue;
        const std::string found = op.name + verb(access) + "what " + past.name +
                                  verb(past.access).substr(0, verb(past.access).size() - 1) +
                                  ", with no event between them";
        if (std::find(violations_.begin(), violations_.end(), found) == violations_.end())
          violations_.push_back(found);
      }
    }
    for (const Access& access : op.accesses) {
      if (access.bytes > 0) history_.push_back({access, op.stream, clock[op.stream], op.name});
    }
    std::erase_if(history_, [&](const Past& past) {
      return std::all_of(clocks_.begin(), clocks_.end(), [&](const Clock& c) {
        return c[past.stream] >= past.time ||
               (caller_enqueues_ && clocks_[0][past.stream] >= past.time);
      });
    });
  }
  static std::string verb(const Access& access) {
    return access.kind == Access::Kind::kWrite ? " writes " : " reads ";
  }

  bool caller_enqueues_;
  std::vector<Clock> clocks_;
  std::map<std::pair<std::size_t, std::int64_t>, Clock> at_;  ///< by stream and recorded position
  std::vector<Past> history_;
  std::vector<Op> log_;
  std::vector<std::string> violations_, wait_texts_;
  std::string last_noted_;
  std::int64_t waits_ = 0, accesses_ = 0, left_out_ = -1;
  bool last_was_left_out_ = false;
};

}  // namespace th_test
