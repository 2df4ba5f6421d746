#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "app/serve/served_request.hpp"
#include "th/base/file_descriptor.hpp"

namespace th::app {

/// Between the thread that talks to clients and the one that translates: requests that were
/// accepted, and answers. A request counts from its acceptance until its answer is fetched.
class RequestQueue {
 public:
  /// At most `most` requests at a time.
  explicit RequestQueue(std::int64_t most);

  /// False where the queue is full.
  [[nodiscard]] bool accept(ServedRequest request);
  /// The next requests, at most `count` and up to `bytes` of text together; waits for one. None:
  /// close() was called and all were taken.
  [[nodiscard]] std::vector<ServedRequest> take(std::int64_t count, std::int64_t bytes);
  void close();

  struct Answer {
    std::uint64_t client = 0;
    std::string line;
  };
  void answer(std::vector<Answer> answers);
  /// The answers since the last call.
  [[nodiscard]] std::vector<Answer> fetch();
  /// Requests without a fetched answer.
  [[nodiscard]] std::int64_t pending();
  /// Readable while there are answers.
  [[nodiscard]] int wake_up() const noexcept { return wake_up_.get(); }

 private:
  std::int64_t most_, pending_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ServedRequest> requests_;
  std::vector<Answer> answers_;
  bool closed_ = false;
  FileDescriptor wake_up_;
};

}  // namespace th::app
