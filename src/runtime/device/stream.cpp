#include "th/runtime/device/stream.hpp"

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace th::runtime {

namespace {

class ThreadStream final : public Stream {
 public:
  ThreadStream() {
    sigset_t all, before;  // signals are the main thread's
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~ThreadStream() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    arrived_.notify_one();
    thread_.join();
  }

  void enqueue(const char* /*name*/, Body body,
               std::initializer_list<Access> /*accesses*/) override {
    {
      const std::lock_guard lock(mutex_);
      pending_.push_back(std::move(body));
    }
    ++enqueued_;
    arrived_.notify_one();
  }
  void copy(void* to, const void* from, std::int64_t bytes) override {
    run_here("copy", [=] { InlineStream().copy(to, from, bytes); });
  }
  void clear(void* memory, std::int64_t bytes) override {
    run_here("clear", [=] { InlineStream().clear(memory, bytes); });
  }
  Event record() override { return {this, enqueued_}; }
  void wait(const Event& event) override {
    if (event.stream == nullptr || event.stream == this) return;
    enqueue("wait", [event] { event.stream->reach(event.position); }, {});
  }
  void drain() override { reach(enqueued_); }
  [[nodiscard]] bool admits_caller() const noexcept override {
    return in_task() || done_.load(std::memory_order_acquire) == enqueued_;
  }
  void run_bodies() override { drain(); }
  void reach(std::int64_t position) override {
    if (done_.load(std::memory_order_acquire) < position) {
      const std::int64_t begin = monotonic_ns();
      {
        std::unique_lock lock(mutex_);
        progress_.wait(lock, [&] { return done_.load(std::memory_order_acquire) >= position; });
      }
      if (std::this_thread::get_id() == maker_) waited_ += monotonic_ns() - begin;
    }
    if (failed_.load(std::memory_order_acquire)) std::rethrow_exception(error_);
  }
  [[nodiscard]] std::int64_t waited_ns() const noexcept override { return waited_; }

 private:
  [[nodiscard]] bool in_task() const noexcept {
    return std::this_thread::get_id() == thread_.get_id();
  }
  template <typename Work>
  void run_here(const char* name, const Work& work) {
    in_task() ? work() : enqueue(name, work, {});
  }
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      arrived_.wait(lock, [&] { return closing_ || !pending_.empty(); });
      if (pending_.empty()) return;
      const Body body = std::move(pending_.front());
      pending_.pop_front();
      lock.unlock();
      if (!failed_.load(std::memory_order_relaxed)) run(body);
      lock.lock();
      done_.fetch_add(1, std::memory_order_release);
      progress_.notify_all();
    }
  }
  void run(const Body& body) noexcept {
    try {
      body();
    } catch (...) {
      error_ = std::current_exception();
      failed_.store(true, std::memory_order_release);
    }
  }

  const std::thread::id maker_ = std::this_thread::get_id();
  std::int64_t waited_ = 0;  ///< by the maker alone
  std::mutex mutex_;
  std::condition_variable arrived_, progress_;
  std::deque<Body> pending_;
  bool closing_ = false;
  std::int64_t enqueued_ = 0;  ///< by the thread that enqueues alone
  std::atomic<std::int64_t> done_ = 0;
  std::atomic<bool> failed_ = false;
  std::exception_ptr error_;  ///< written before failed_
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Stream> make_thread_stream() { return std::make_unique<ThreadStream>(); }

}  // namespace th::runtime
