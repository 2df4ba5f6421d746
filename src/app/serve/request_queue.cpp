#include "app/serve/request_queue.hpp"

#include "th/base/error.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

namespace th::app {

RequestQueue::RequestQueue(std::int64_t most)
    : most_(most), wake_up_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  ensure(wake_up_.get() >= 0, "eventfd failed");
}

bool RequestQueue::accept(ServedRequest request) {
  const std::lock_guard lock(mutex_);
  if (pending_ >= most_) return false;
  ++pending_;
  requests_.push_back(std::move(request));
  changed_.notify_one();
  return true;
}

std::vector<ServedRequest> RequestQueue::take(std::int64_t count, std::int64_t bytes) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || !requests_.empty(); });
  std::vector<ServedRequest> taken;
  std::int64_t size = 0;
  while (!requests_.empty() && std::ssize(taken) < count) {
    size += std::ssize(requests_.front().text);
    if (!taken.empty() && size > bytes) break;
    taken.push_back(std::move(requests_.front()));
    requests_.pop_front();
  }
  return taken;
}

void RequestQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void RequestQueue::answer(std::vector<Answer> answers) {
  const std::lock_guard lock(mutex_);
  for (Answer& answer : answers) answers_.push_back(std::move(answer));
  const std::uint64_t one = 1;
  // A counter that is full is readable as well.
  [[maybe_unused]] const ssize_t put = ::write(wake_up_.get(), &one, sizeof one);
}

std::vector<RequestQueue::Answer> RequestQueue::fetch() {
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_up_.get(), &count, sizeof count);
  pending_ -= std::ssize(answers_);
  return std::exchange(answers_, {});
}

std::int64_t RequestQueue::pending() {
  const std::lock_guard lock(mutex_);
  return pending_;
}

}  // namespace th::app
