#include "th/runtime/watched_collectives.hpp"

#include <array>
#include <map>
#include <utility>

#include "th/runtime/memory_ledger.hpp"

namespace th::runtime {

namespace {

enum Data : std::size_t { kGradients, kParameters, kControl, kDataKinds };
constexpr std::array<const char*, kDataKinds> kDataNames{"gradients", "parameters", "scalars and texts"};
enum Call : std::size_t { kExchange, kAllGather, kAllReduce, kSmall, kCalls };
constexpr std::array<const char*, kCalls> kCallNames{"exchange", "all_gather", "all_reduce", "control"};

class Observed final : public WatchedCollectives {
  template <typename Body>
  auto watched(const char* name, Body&& body) {
    const WaitScope wait(&watchdog_, name);
    return std::forward<Body>(body)();
  }

 public:
  Observed(Collectives& inner, Watchdog& watchdog) : inner_(inner), watchdog_(watchdog) {}

  [[nodiscard]] int rank() const noexcept override { return inner_.rank(); }
  [[nodiscard]] int size() const noexcept override { return inner_.size(); }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) override {
    auto buffer = watched("allocate", [&] { return inner_.allocate(elements); });
    data_of_[buffer.get()] = MemoryScope::current() == MemoryClass::kParameters ? kParameters : kGradients;
    return buffer;
  }
  [[nodiscard]] std::vector<const float*> exchange(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    count(kExchange, data_of(buffer), slice * kWord * others());
    return watched("exchange of gradients", [&] { return inner_.exchange(buffer, offset, slice); });
  }
  void finish_exchange() override {
    watched("end of an exchange", [&] { inner_.finish_exchange(); });
  }
  void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride, std::int64_t slice, float* full) override {
    count(kAllGather, data_of(buffer), slice * kWord * others());
    watched("all-gather", [&] { inner_.all_gather(buffer, offset, stride, slice, full); });
  }
  [[nodiscard]] std::vector<const float*> shards(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    count(kAllGather, data_of(buffer), slice * kWord * others());
    return watched("all-gather in place", [&] { return inner_.shards(buffer, offset, slice); });
  }
  void sum_in_rank_order(std::span<double> values) override {
    count(kSmall, kControl, static_cast<std::int64_t>(values.size_bytes()) * others());
    watched("sum of scalars", [&] { inner_.sum_in_rank_order(values); });
  }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    count(kSmall, kControl, static_cast<std::int64_t>(mine.size_bytes()) * others());
    watched("all-gather of scalars", [&] { inner_.all_gather_doubles(mine, all); });
  }
  void all_reduce_fast(float* data, std::int64_t count_of) override {
    count(kAllReduce, kGradients, 2 * count_of / size() * kWord * others());
    watched("all-reduce", [&] { inner_.all_reduce_fast(data, count_of); });
  }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override {
    count(kSmall, kControl, static_cast<std::int64_t>(sizeof value) * others());
    return watched("maximum", [&] { return inner_.maximum(value); });
  }
  void broadcast(std::string& text, int root) override {
    watched("broadcast", [&] { inner_.broadcast(text, root); });
    const auto bytes = static_cast<std::int64_t>(text.size());
    count(kSmall, kControl, rank() == root ? bytes * others() : 0, rank() == root ? 0 : bytes);
  }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    std::vector<std::string> all = watched("gather of texts", [&] { return inner_.gather_texts(text); });
    std::int64_t received = 0;
    for (const std::string& one : all) received += static_cast<std::int64_t>(one.size());
    const auto mine = static_cast<std::int64_t>(text.size());
    count(kSmall, kControl, mine * others(), received - mine);
    return all;
  }
  void barrier() override {
    watched("barrier", [&] { inner_.barrier(); });
  }
  [[nodiscard]] const ByteCounters& bytes_sent() const noexcept override { return inner_.bytes_sent(); }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override { return inner_.communication_bytes(); }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

  [[nodiscard]] std::vector<TrafficRow> traffic() const override {
    std::vector<TrafficRow> rows;
    for (std::size_t call = 0; call < kCalls; ++call) {
      for (std::size_t data = 0; data < kDataKinds; ++data) {
        const TrafficRow& row = table_[call][data];
        if (row.calls > 0) rows.push_back({kCallNames[call], kDataNames[data], row.calls, row.sent, row.received});
      }
    }
    return rows;
  }

 private:
  static constexpr std::int64_t kWord = 4;
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
  /// Calls in which every rank sends as much as it receives.
  void count(Call call, Data data, std::int64_t bytes) { count(call, data, bytes, bytes); }

  Collectives& inner_;
  Watchdog& watchdog_;
  std::map<const TransportBuffer*, Data> data_of_;
  std::array<std::array<TrafficRow, kDataKinds>, kCalls> table_;
};

}  // namespace

std::unique_ptr<WatchedCollectives> make_watched_collectives(Collectives& inner, Watchdog& watchdog) {
  return std::make_unique<Observed>(inner, watchdog);
}

}  // namespace th::runtime
