#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "th/runtime/device.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

namespace th_test {

/// A device with memory of its own on the host, for tests: its memory is out of the host's reach (a touch is a crash) but for its own
/// copies and kernels and inside a Kernel, and what is enqueued runs at a time that the events allow and that finds most mistakes.
class FakeDevice final : public th::runtime::Device {
 public:
  /// kLate: nothing runs before somebody waits for it, and then no more than that. kCopiesEarly: queues of copies run as soon as they may,
  /// the compute queue as late as it can.
  enum class Order { kLate, kCopiesEarly };
  /// The ways to wait, for tests that leave one out.
  enum class Wait { kHostForEvent, kComputeForEvent, kCopiesForEvent };

  explicit FakeDevice(Order order) : order_(order) { compute_ = std::make_unique<Queue>(*this); }
  ~FakeDevice() override { compute_->synchronize(); }

  /// Waits of this kind do nothing from here on.
  void leave_out(Wait kind) { left_out_.insert(kind); }
  /// Bytes that are allocated now.
  [[nodiscard]] std::int64_t bytes(th::runtime::Place place) const {
    std::int64_t sum = 0;
    for (const auto& [memory, block] : blocks_) sum += block.place == place ? block.bytes : 0;
    return sum;
  }
  /// Copies that have run, device to host and host to device.
  [[nodiscard]] std::int64_t copied_to_host() const noexcept { return to_host_; }
  [[nodiscard]] std::int64_t copied_to_device() const noexcept { return to_device_; }

  /// While it lives the host is a kernel of the compute queue: device memory can be touched, what was enqueued there has run, and what is
  /// enqueued there meanwhile runs at once.
  class Kernel {
   public:
    explicit Kernel(FakeDevice& device) : device_(device) {
      device_.compute_->synchronize();
      device_.open();
      ++device_.kernels_;
    }
    ~Kernel() {
      --device_.kernels_;
      device_.close();
    }
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

   private:
    FakeDevice& device_;
  };

  [[nodiscard]] bool is_host() const noexcept override { return false; }
  [[nodiscard]] void* take(th::runtime::Place place, std::int64_t bytes) override {
    const std::size_t rounded = (static_cast<std::size_t>(bytes) + kPage - 1) / kPage * kPage;
    const bool device = place == th::runtime::Place::kDevice;
    void* memory = mmap(nullptr, rounded, device && open_ == 0 ? PROT_NONE : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    blocks_[static_cast<std::byte*>(memory)] = {place, bytes, rounded};
    return memory;
  }
  void give(th::runtime::Place, void* memory) noexcept override {
    compute_->synchronize();
    for (Queue* queue : queues_) queue->synchronize();
    const auto found = blocks_.find(static_cast<std::byte*>(memory));
    munmap(memory, found->second.rounded);
    blocks_.erase(found);
  }
  [[nodiscard]] th::runtime::DeviceQueue& compute() override { return *compute_; }
  [[nodiscard]] std::unique_ptr<th::runtime::DeviceQueue> make_queue() override { return std::make_unique<Queue>(*this); }
  [[nodiscard]] std::unique_ptr<th::runtime::DeviceEvent> make_event() override { return std::make_unique<Event>(*this); }

  void update(const th::runtime::UpdateFactors& factors, const th::runtime::UpdateOperands& operands) override {
    compute_->enqueue([=] { th::zero::apply_update(factors, operands); });
  }
  void block_square_sums(const void* x, th::runtime::ElementType type, std::int64_t blocks, double* out) override {
    compute_->enqueue([=] { th::zero::block_square_sums(x, type, blocks, out); });
  }
  void tree_sum(const th::runtime::TreeSum& sum) override {
    compute_->enqueue([sum = th::runtime::TreeSum(sum), leaves = std::vector<th::runtime::TreeLeaf>(sum.leaves.begin(), sum.leaves.end())]() mutable {
      sum.leaves = leaves;
      th::zero::tree_sum(sum);
    });
  }
  void accumulate(float* y, const float* x, std::int64_t count) override {
    compute_->enqueue([=] {
      for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
    });
  }
  void round(const float* from, th::runtime::ElementType type, void* to, std::int64_t count) override {
    compute_->enqueue([=] { th::zero::round_elements(from, type, to, count); });
  }

 private:
  static constexpr std::size_t kPage = 4096;
  struct Block {
    th::runtime::Place place;
    std::int64_t bytes;
    std::size_t rounded;
  };
  class Queue;

  struct Recorded {
    std::int64_t recorded = 0, reached = 0;
    Queue* where = nullptr;  ///< of the last record
  };

  class Event final : public th::runtime::DeviceEvent {
   public:
    explicit Event(FakeDevice& device) : device_(device) {}
    void record(th::runtime::DeviceQueue& queue) override {
      state_->where = static_cast<Queue*>(&queue);
      const std::int64_t number = ++state_->recorded;
      state_->where->enqueue([state = state_, number] { state->reached = number; });
    }
    void wait() override {
      if (!device_.left_out_.contains(Wait::kHostForEvent)) reach(*state_, state_->recorded);
    }
    static void reach(Recorded& event, std::int64_t number) {
      while (event.reached < number) event.where->run_one();
    }
    [[nodiscard]] const std::shared_ptr<Recorded>& state() const { return state_; }

   private:
    FakeDevice& device_;
    std::shared_ptr<Recorded> state_ = std::make_shared<Recorded>();
  };

  class Queue final : public th::runtime::DeviceQueue {
   public:
    explicit Queue(FakeDevice& device) : device_(device) { device_.queues_.insert(this); }
    ~Queue() override {
      synchronize();
      device_.queues_.erase(this);
    }
    void copy(void* to, const void* from, std::int64_t bytes) override {
      const bool to_device = device_.is_own(to), from_device = device_.is_own(from);
      enqueue([this, to, from, bytes, to_device, from_device] {
        if (to_device && !from_device) device_.to_device_ += bytes;
        if (!to_device && from_device) device_.to_host_ += bytes;
        std::memmove(to, from, static_cast<std::size_t>(bytes));
      });
    }
    void clear(void* memory, std::int64_t bytes) override {
      enqueue([=] { std::memset(memory, 0, static_cast<std::size_t>(bytes)); });
    }
    void wait(th::runtime::DeviceEvent& event) override {
      const bool copies = this != device_.compute_.get();
      if (device_.left_out_.contains(copies ? Wait::kCopiesForEvent : Wait::kComputeForEvent)) return;
      const std::shared_ptr<Recorded> state = static_cast<Event&>(event).state();
      enqueue_after(state, state->recorded, [] {});
    }
    void synchronize() override {
      while (!work_.empty()) run_one();
    }
    void enqueue(std::function<void()> run) { enqueue_after(nullptr, 0, std::move(run)); }
    /// The next work, or work of another queue that it waits for.
    void run_one() {
      if (work_.empty()) std::abort();  // an event that nobody will reach
      if (!may_run()) return work_.front().after->where->run_one();
      const Work next = std::move(work_.front());
      work_.pop_front();
      device_.open();
      next.run();
      device_.close();
      if (device_.order_ == Order::kCopiesEarly && this == device_.compute_.get()) device_.run_copies();
    }

   private:
    struct Work {
      std::shared_ptr<Recorded> after;
      std::int64_t number;
      std::function<void()> run;
    };
    void enqueue_after(std::shared_ptr<Recorded> after, std::int64_t number, std::function<void()> run) {
      work_.push_back({std::move(after), number, std::move(run)});
      if (device_.order_ == Order::kCopiesEarly) device_.run_copies();
      if (device_.kernels_ > 0 && this == device_.compute_.get()) synchronize();
    }
    [[nodiscard]] bool may_run() const {
      return !work_.empty() && (!work_.front().after || work_.front().after->reached >= work_.front().number);
    }

    FakeDevice& device_;
    std::deque<Work> work_;
    friend class FakeDevice;
  };

  void run_copies() {
    for (bool moved = true; moved;) {
      moved = false;
      for (Queue* queue : queues_) {
        while (queue != compute_.get() && queue->may_run()) {
          queue->run_one();
          moved = true;
        }
      }
    }
  }
  [[nodiscard]] bool is_own(const void* memory) const {
    auto after = blocks_.upper_bound(static_cast<std::byte*>(const_cast<void*>(memory)));
    if (after == blocks_.begin()) return false;
    const auto& [begin, block] = *--after;
    return block.place == th::runtime::Place::kDevice && memory < begin + block.rounded;
  }
  void open() {
    if (open_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    if (--open_ == 0) protect(PROT_NONE);
  }
  void protect(int rights) {
    for (const auto& [memory, block] : blocks_) {
      if (block.place == th::runtime::Place::kDevice) mprotect(memory, block.rounded, rights);
    }
  }

  Order order_;
  std::set<Wait> left_out_;
  std::set<Queue*> queues_;
  std::map<std::byte*, Block> blocks_;
  int open_ = 0, kernels_ = 0;
  std::int64_t to_host_ = 0, to_device_ = 0;
  std::unique_ptr<Queue> compute_;
};

}  // namespace th_test
