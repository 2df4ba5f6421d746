#include "th/runtime/watched_collectives.hpp"

#include <utility>

namespace th::runtime {

namespace {

class WatchedCollectives final : public Collectives {
  template <typename Call>
  auto watched(const char* name, Call&& call) {
    const WaitScope wait(&watchdog_, name);
    return std::forward<Call>(call)();
  }

 public:
  WatchedCollectives(Collectives& inner, Watchdog& watchdog) : inner_(inner), watchdog_(watchdog) {}

  [[nodiscard]] int rank() const noexcept override { return inner_.rank(); }
  [[nodiscard]] int size() const noexcept override { return inner_.size(); }
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t elements) override {
    return watched("allocate", [&] { return inner_.allocate(elements); });
  }
  [[nodiscard]] std::vector<const float*> exchange(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    return watched("exchange of gradients", [&] { return inner_.exchange(buffer, offset, slice); });
  }
  void finish_exchange() override {
    watched("end of an exchange", [&] { inner_.finish_exchange(); });
  }
  void all_gather(TransportBuffer& buffer, std::int64_t offset, std::int64_t stride, std::int64_t slice, float* full) override {
    watched("all-gather", [&] { inner_.all_gather(buffer, offset, stride, slice, full); });
  }
  [[nodiscard]] std::vector<const float*> shards(TransportBuffer& buffer, std::int64_t offset, std::int64_t slice) override {
    return watched("all-gather in place", [&] { return inner_.shards(buffer, offset, slice); });
  }
  void sum_in_rank_order(std::span<double> values) override {
    watched("sum of scalars", [&] { inner_.sum_in_rank_order(values); });
  }
  void all_gather_doubles(std::span<const double> mine, std::span<double> all) override {
    watched("all-gather of scalars", [&] { inner_.all_gather_doubles(mine, all); });
  }
  void all_reduce_fast(float* data, std::int64_t count) override {
    watched("all-reduce", [&] { inner_.all_reduce_fast(data, count); });
  }
  [[nodiscard]] std::int64_t maximum(std::int64_t value) override {
    return watched("maximum", [&] { return inner_.maximum(value); });
  }
  void broadcast(std::string& text, int root) override {
    watched("broadcast", [&] { inner_.broadcast(text, root); });
  }
  [[nodiscard]] std::vector<std::string> gather_texts(const std::string& text) override {
    return watched("gather of texts", [&] { return inner_.gather_texts(text); });
  }
  void barrier() override {
    watched("barrier", [&] { inner_.barrier(); });
  }
  [[nodiscard]] const ByteCounters& bytes_sent() const noexcept override { return inner_.bytes_sent(); }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override { return inner_.communication_bytes(); }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

 private:
  Collectives& inner_;
  Watchdog& watchdog_;
};

}  // namespace

std::unique_ptr<Collectives> make_watched_collectives(Collectives& inner, Watchdog& watchdog) {
  return std::make_unique<WatchedCollectives>(inner, watchdog);
}

}  // namespace th::runtime
