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

class Observed final : public WatchedCollectives {
  /// Adds the time of its scope to that of the maker's calls, or to that of other threads.
  class OwnTime {
   public:
    explicit OwnTime(Observed& all) : all_(all), begin_(monotonic_ns()) {}
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
    Observed& all_;
    std::int64_t begin_;
  };

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
  /// A call that brings `bytes` from each rank to each other one, with its row of the table.
  template <typename Body>
  auto counted(const OrderCheck::Call& name, Row row, std::int64_t bytes, Body&& body) {
    const BetweenNodes between(*this, row.call, row.data);
    count(row.call, row.data, bytes * others(), bytes * others());
    return watched(name, std::forward<Body>(body));
  }

 public:
  Observed(Collectives& inner, Watchdog& watchdog, OrderCheck* check)
      : inner_(inner),
        watchdog_(watchdog),
        check_(check),
        sent_before_(inner.bytes_sent()),
        between_before_(inner.bytes_between_nodes()) {}

  [[nodiscard]] int rank() const noexcept override { return inner_.rank(); }
  [[nodiscard]] int size() const noexcept override { return inner_.size(); }
  [[nodiscard]] NodeMap nodes() const override { return inner_.nodes(); }
  void use_stream(Stream* stream) override { inner_.use_stream(stream); }
  [[nodiscard]] bool shares_memory() const noexcept override { return inner_.shares_memory(); }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) override {
    return known(watched({"allocate", elements}, [&] { return inner_.allocate(elements); }));
  }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate_shared(std::int64_t elements,
                                                                 std::int64_t counted) override {
    return known(
        watched({"allocate", elements}, [&] { return inner_.allocate_shared(elements, counted); }));
  }
  [[nodiscard]] std::vector<const float*> exchange(TransportBuffer& buffer, std::int64_t offset,
                                                   std::int64_t slice) override {
    return counted({"exchange of gradients", offset, slice}, {kExchange, data_of(buffer)},
                   slice * kWord, [&] { return inner_.exchange(buffer, offset, slice); });
  }
  [[nodiscard]] std::vector<Contribution> exchange_sums(TransportBuffer& buffer,
                                                        std::int64_t offset, std::int64_t slice,
                                                        const SubtreeSum& sum) override {
    return counted({"exchange of gradients", offset, slice}, {kExchange, data_of(buffer)},
                   slice * kWord, [&] { return inner_.exchange_sums(buffer, offset, slice, sum); });
  }
  void finish_exchange() override {
    watched({"end of an exchange"}, [&] { inner_.finish_exchange(); });
  }
  void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                  std::int64_t slice, float* full) override {
    counted({"all-gather", offset, slice}, {kAllGather, data_of(buffer)}, slice * kWord,
            [&] { inner_.all_gather(buffer, offset, stride, slice, full); });
  }
  void all_gather_shared(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride,
                         std::int64_t slice, TransportBuffer& to, std::int64_t at) override {
    counted({"all-gather", offset, slice}, {kAllGather, data_of(buffer)}, slice * kWord,
            [&] { inner_.all_gather_shared(buffer, offset, stride, slice, to, at); });
  }
  [[nodiscard]] std::vector<const float*> shards(TransportBuffer& buffer, std::int64_t offset,
                                                 std::int64_t slice) override {
    return counted({"all-gather in place", offset, slice}, {kAllGather, data_of(buffer)},
                   slice * kWord, [&] { return inner_.shards(buffer, offset, slice); });
  }
  void sum_in_rank_order(std::span<double> values) override {
    counted({"sum of scalars", std::ssize(values)}, {kSmall, kControl},
            std::ssize(values) * kDouble, [&] { inner_.sum_in_rank_order(values); });
  }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    counted({"all-gather of scalars", std::ssize(mine)}, {kSmall, kControl},
            std::ssize(mine) * kDouble, [&] { inner_.all_gather_doubles(mine, all); });
  }
  void all_reduce_fast(float* data, std::int64_t elements) override {
    counted({"all-reduce", elements}, {kAllReduce, kGradients}, 2 * elements / size() * kWord,
            [&] { inner_.all_reduce_fast(data, elements); });
  }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override {
    return counted({"maximum"}, {kSmall, kControl}, static_cast<std::int64_t>(sizeof value),
                   [&] { return inner_.maximum(value); });
  }
  void broadcast(std::string& text, int root) override {
    const BetweenNodes between(*this, kSmall, kControl);
    watched({"broadcast", root}, [&] { inner_.broadcast(text, root); });
    const auto bytes = static_cast<std::int64_t>(text.size());
    count(kSmall, kControl, rank() == root ? bytes * others() : 0, rank() == root ? 0 : bytes);
  }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    const BetweenNodes between(*this, kSmall, kControl);
    std::vector<std::string> all =
        watched({"gather of texts"}, [&] { return inner_.gather_texts(text); });
    std::int64_t received = 0;
    for (const std::string& one : all) received += static_cast<std::int64_t>(one.size());
    const auto mine = static_cast<std::int64_t>(text.size());
    count(kSmall, kControl, mine * others(), received - mine);
    return all;
  }
  void barrier() override {
    watched({"barrier"}, [&] { inner_.barrier(); });
  }
  [[nodiscard]] const ByteCounters& bytes_sent() const noexcept override {
    sent_ = inner_.bytes_sent() - sent_before_;
    return sent_;
  }
  [[nodiscard]] ByteCounters bytes_between_nodes() const noexcept override {
    return inner_.bytes_between_nodes() - between_before_;
  }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return inner_.communication_bytes();
  }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

  void follow(const Stream* stream) override { order_ = stream; }
  [[nodiscard]] std::int64_t own_ns() const noexcept override { return own_ns_; }
  [[nodiscard]] std::int64_t others_ns() const noexcept override {
    return others_ns_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] std::vector<TrafficRow> traffic() const override {
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

 private:
  /// What the transport sends to other nodes while this lives goes into a row of the table.
  class BetweenNodes {
   public:
    BetweenNodes(Observed& all, Call call, Data data)
        : all_(all),
          row_(all.table_[call][data]),
          before_(all.inner_.bytes_between_nodes().total()) {}
    ~BetweenNodes() { row_.between_nodes += all_.inner_.bytes_between_nodes().total() - before_; }
    BetweenNodes(const BetweenNodes&) = delete;
    BetweenNodes& operator=(const BetweenNodes&) = delete;

   private:
    Observed& all_;
    TrafficRow& row_;
    std::int64_t before_;
  };

  std::unique_ptr<TransportBuffer> known(std::unique_ptr<TransportBuffer> buffer) {
    if (buffer != nullptr)
      data_of_[buffer.get()] =
          MemoryScope::current() == MemoryClass::kParameters ? kParameters : kGradients;
    return buffer;
  }
  static constexpr std::int64_t kWord = 4, kDouble = 8;
  [[nodiscard]] std::int64_t others() const noexcept { return inner_.size() - 1; }
  [[nodiscard]] Data data_of(const TransportBuffer& buffer) const {
    const auto found = data_of_.find(&buffer);
    return found == data_of_.end() ? kGradients : found->second;
  }
  void count(Call call, Data data, std::int64_t sent, std::int64_t received) {
    TrafficRow& row = table_[call][data];
    ++row.calls;
    row.sent += sent;
    row.received += received;
  }

  Collectives& inner_;
  Watchdog& watchdog_;
  OrderCheck* check_;
  const Stream* order_ = nullptr;
  const std::thread::id maker_ = std::this_thread::get_id();
  std::int64_t own_ns_ = 0;  ///< by the maker alone
  std::atomic<std::int64_t> others_ns_{0};
  ByteCounters sent_before_, between_before_;  ///< by others that used `inner` before
  mutable ByteCounters sent_;
  std::map<const TransportBuffer*, Data> data_of_;
  std::array<std::array<TrafficRow, kDataKinds>, kCalls> table_;
};

}  // namespace

std::unique_ptr<WatchedCollectives> make_watched_collectives(Collectives& inner, Watchdog& watchdog,
                                                             OrderCheck* check) {
  return std::make_unique<Observed>(inner, watchdog, check);
}

}  // namespace th::runtime
