#include "th/runtime/transport/watched_collectives.hpp"

#include <array>
#include <atomic>
#include <map>
#include <thread>
#include <utility>

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

namespace th::runtime {

namespace {

enum Data : std::size_t { kGradients, kParameters, kControl, kDataKinds };
constexpr std::array<const char*, kDataKinds> kDataNames{"gradients", "parameters",
                                                         "scalars and texts"};
enum Call : std::size_t { kExchange, kAllGather, kAllReduce, kSmall, kCalls };
constexpr std::array<const char*, kCalls> kCallNames{"exchange", "all_gather", "all_reduce",
                                                     "control"};

/// Watches and counts every call, of data and of control, and keeps the table of traffic.
class Watch {
 public:
  Watch(Collectives& inner, Watchdog& watchdog, OrderCheck* check)
      : inner_(inner), watchdog_(watchdog), check_(check) {}

  void follow(const Stream* stream) { order_ = stream; }
  [[nodiscard]] std::int64_t own_ns() const noexcept { return own_ns_; }
  [[nodiscard]] std::int64_t others_ns() const noexcept {
    return others_ns_.load(std::memory_order_relaxed);
  }

  template <typename Body>
  auto watched(const OrderCheck::Call& call, Body&& body) {
    if (order_ != nullptr && !order_->admits_caller()) {
      throw InternalError(
          std::string(call.name) +
          " was called while the communication stream has work pending: drain it first");
    }
    const WaitScope wait(&watchdog_, call.name);
    const OwnTime time(*this);
    if (check_ != nullptr) check_->agree(call);
    return std::forward<Body>(body)();
  }

  /// Where a call stands in the table.
  struct Row {
    Call call;
    Data data;
  };
  /// What the transport sends to other nodes while this lives goes into a row of the table.
  class BetweenNodes {
   public:
    BetweenNodes(Watch& all, Row row)
        : inner_(all.inner_), row_(all.at(row)), before_(inner_.bytes_between_nodes().total()) {}
    ~BetweenNodes() { row_.between_nodes += inner_.bytes_between_nodes().total() - before_; }
    BetweenNodes(const BetweenNodes&) = delete;
    BetweenNodes& operator=(const BetweenNodes&) = delete;

   private:
    const Collectives& inner_;
    TrafficRow& row_;
    std::int64_t before_;
  };
  /// A call that brings `bytes` from each rank to each other one, with its row of the table.
  template <typename Body>
  auto counted(const OrderCheck::Call& name, Row row, std::int64_t bytes, Body&& body) {
    const BetweenNodes between(*this, row);
    count(row, bytes * others(), bytes * others());
    return watched(name, std::forward<Body>(body));
  }
  void count(Row at_row, std::int64_t sent, std::int64_t received) {
    TrafficRow& row = at(at_row);
    ++row.calls;
    row.sent += sent;
    row.received += received;
  }
  [[nodiscard]] std::int64_t others() const noexcept { return inner_.size() - 1; }
  [[nodiscard]] std::vector<TrafficRow> traffic() const;

 private:
  /// Adds the time of its scope to that of the maker's calls, or to that of other threads.
  class OwnTime {
   public:
    explicit OwnTime(Watch& all) : all_(all), begin_(monotonic_ns()) {}
    ~OwnTime() {
      const std::int64_t time = monotonic_ns() - begin_;
      if (std::this_thread::get_id() == all_.maker_)
        all_.own_ns_ += time;
      else
        all_.others_ns_.fetch_add(time, std::memory_order_relaxed);
    }
    OwnTime(const OwnTime&) = delete;
    OwnTime& operator=(const OwnTime&) = delete;

   private:
    Watch& all_;
    std::int64_t begin_;
  };
  TrafficRow& at(Row row) { return table_[row.call][row.data]; }

  const Collectives& inner_;
  Watchdog& watchdog_;
  OrderCheck* check_;
  const Stream* order_ = nullptr;
  const std::thread::id maker_ = std::this_thread::get_id();
  std::int64_t own_ns_ = 0;  ///< by the maker alone
  std::atomic<std::int64_t> others_ns_{0};
  std::array<std::array<TrafficRow, kDataKinds>, kCalls> table_;
};

std::vector<TrafficRow> Watch::traffic() const {
  std::vector<TrafficRow> rows;
  for (std::size_t call = 0; call < kCalls; ++call) {
    for (std::size_t data = 0; data < kDataKinds; ++data) {
      TrafficRow row = table_[call][data];
      row.collective = kCallNames[call];
      row.data = kDataNames[data];
      if (row.calls > 0) rows.push_back(std::move(row));
    }
  }
  return rows;
}

class ObservedControl final : public ControlCalls {
 public:
  ObservedControl(ControlCalls& inner, Watch& watch) : inner_(inner), watch_(watch) {}

  [[nodiscard]] int rank() const noexcept override { return inner_.rank(); }
  [[nodiscard]] int size() const noexcept override { return inner_.size(); }
  void sum_in_rank_order(std::span<double> values) override {
    watch_.counted({"sum of scalars", std::ssize(values)}, kRow, std::ssize(values) * kDouble,
                   [&] { inner_.sum_in_rank_order(values); });
  }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    watch_.counted({"all-gather of scalars", std::ssize(mine)}, kRow, std::ssize(mine) * kDouble,
                   [&] { inner_.all_gather_doubles(mine, all); });
  }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override {
    return watch_.counted({"maximum"}, kRow, static_cast<std::int64_t>(sizeof value),
                          [&] { return inner_.maximum(value); });
  }
  void broadcast(std::string& text, int root) override {
    const Watch::BetweenNodes between(watch_, kRow);
    watch_.watched({"broadcast", root}, [&] { inner_.broadcast(text, root); });
    const auto bytes = static_cast<std::int64_t>(text.size());
    watch_.count(kRow, rank() == root ? bytes * watch_.others() : 0, rank() == root ? 0 : bytes);
  }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    const Watch::BetweenNodes between(watch_, kRow);
    std::vector<std::string> all =
        watch_.watched({"gather of texts"}, [&] { return inner_.gather_texts(text); });
    std::int64_t received = 0;
    for (const std::string& one : all) received += static_cast<std::int64_t>(one.size());
    const auto mine = static_cast<std::int64_t>(text.size());
    watch_.count(kRow, mine * watch_.others(), received - mine);
    return all;
  }
  void barrier() override {
    watch_.watched({"barrier"}, [&] { inner_.barrier(); });
  }

 private:
  static constexpr std::int64_t kDouble = 8;
  static constexpr Watch::Row kRow{kSmall, kControl};
  ControlCalls& inner_;
  Watch& watch_;
};

class Observed final : public WatchedCollectives {
 public:
  Observed(Collectives& inner, Watchdog& watchdog, OrderCheck* check)
      : inner_(inner),
        watch_(inner, watchdog, check),
        control_(std::make_unique<ObservedControl>(inner.control(), watch_)),
        sent_before_(inner.bytes_sent()),
        between_before_(inner.bytes_between_nodes()) {}

  [[nodiscard]] ControlCalls& control() const noexcept override { return *control_; }
  [[nodiscard]] NodeMap nodes() const override { return inner_.nodes(); }
  void use_stream(Stream* stream) override { inner_.use_stream(stream); }
  [[nodiscard]] bool shares_memory() const noexcept override { return inner_.shares_memory(); }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t bytes) override {
    return known(watch_.watched({"allocate", bytes}, [&] { return inner_.allocate(bytes); }));
  }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate_shared(std::int64_t bytes,
                                                                 std::int64_t counted) override {
    return known(watch_.watched({"allocate", bytes},
                                [&] { return inner_.allocate_shared(bytes, counted); }));
  }
  [[nodiscard]] std::vector<Contribution> exchange(TransportBuffer& buffer, const RankParts& parts,
                                                   const SubtreeSum* sum) override {
    return watch_.counted({"exchange of gradients", parts.offset, parts.size},
                          {kExchange, data_of(buffer)}, parts.size,
                          [&] { return inner_.exchange(buffer, parts, sum); });
  }
  void finish_exchange() override {
    watch_.watched({"end of an exchange"}, [&] { inner_.finish_exchange(); });
  }
  void all_gather(TransportBuffer& buffer, const RankParts& parts, std::byte* full,
                  TransportBuffer* within) override {
    watch_.counted({"all-gather", parts.offset, parts.size}, {kAllGather, data_of(buffer)},
                   parts.size, [&] { inner_.all_gather(buffer, parts, full, within); });
  }
  [[nodiscard]] std::vector<const std::byte*> shards(TransportBuffer& buffer,
                                                     const RankParts& parts) override {
    return watch_.counted({"all-gather in place", parts.offset, parts.size},
                          {kAllGather, data_of(buffer)}, parts.size,
                          [&] { return inner_.shards(buffer, parts); });
  }
  void all_reduce_fast(float* data, std::int64_t elements) override {
    watch_.counted({"all-reduce", elements}, {kAllReduce, kGradients},
                   2 * elements / size() * std::int64_t{sizeof(float)},
                   [&] { inner_.all_reduce_fast(data, elements); });
  }
  void barrier() override {
    watch_.watched({"barrier"}, [&] { inner_.barrier(); });
  }
  [[nodiscard]] ByteCounters bytes_sent() const noexcept override {
    return inner_.bytes_sent() - sent_before_;
  }
  [[nodiscard]] ByteCounters bytes_between_nodes() const noexcept override {
    return inner_.bytes_between_nodes() - between_before_;
  }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return inner_.communication_bytes();
  }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

  void follow(const Stream* stream) override { watch_.follow(stream); }
  [[nodiscard]] std::int64_t own_ns() const noexcept override { return watch_.own_ns(); }
  [[nodiscard]] std::int64_t others_ns() const noexcept override { return watch_.others_ns(); }
  [[nodiscard]] std::vector<TrafficRow> traffic() const override { return watch_.traffic(); }

 private:
  std::unique_ptr<TransportBuffer> known(std::unique_ptr<TransportBuffer> buffer) {
    const MemoryClass kind = MemoryScope::current();
    const bool parameters =  // in gather slots: shards on their way from the host's memory
        kind == MemoryClass::kParameters || kind == MemoryClass::kGatherSlots;
    if (buffer != nullptr) data_of_[buffer.get()] = parameters ? kParameters : kGradients;
    return buffer;
  }
  [[nodiscard]] Data data_of(const TransportBuffer& buffer) const {
    const auto found = data_of_.find(&buffer);
    return found == data_of_.end() ? kGradients : found->second;
  }

  Collectives& inner_;
  Watch watch_;
  std::unique_ptr<ObservedControl> control_;
  ByteCounters sent_before_, between_before_;  ///< by others that used `inner` before
  std::map<const TransportBuffer*, Data> data_of_;
};

}  // namespace

std::unique_ptr<WatchedCollectives> make_watched_collectives(Collectives& inner, Watchdog& watchdog,
                                                             OrderCheck* check) {
  return std::make_unique<Observed>(inner, watchdog, check);
}

}  // namespace th::runtime
