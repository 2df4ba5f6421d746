#pragma once

#include <list>
#include <optional>
#include <string>

#include "th/runtime/transport/mpi.hpp"

// What rank 0 and the others of a translation job tell each other. Nobody blocks in MPI: a rank
// that waits sleeps, so that it takes no core from those that compute.
namespace th::app {

/// By tag. To the others: a chunk, the end with its code. To rank 0: a result, an error, a stop
/// signal that came here, and that the end was heard.
enum class Tag : int { kChunk = 1, kEnd, kResult, kError, kStopped, kHeard };

struct Message {
  Tag tag = Tag::kEnd;
  int rank = 0;  ///< who sent it
  std::string bytes;
};

/// The next message that has come, from anyone.
[[nodiscard]] std::optional<Message> receive(const runtime::Communicator& world);

/// Messages on their way; they are kept until they have left, and its end waits for that: the
/// others must go on receiving.
class Outbox {
 public:
  explicit Outbox(const runtime::Communicator& world) : world_(world) {}
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  void send(int rank, Tag tag, std::string bytes);
  /// Forgets those that have left; whether none is on its way.
  bool progress();

 private:
  struct Sent {
    std::string bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  const runtime::Communicator& world_;
  std::list<Sent> sent_;  ///< MPI reads the bytes where they are
};

/// A short sleep of a rank that has nothing to do.
void nap();

}  // namespace th::app
