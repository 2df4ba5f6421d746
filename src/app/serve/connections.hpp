#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "app/serve/listening_socket.hpp"
#include "app/serve/request_queue.hpp"
#include "th/base/file_descriptor.hpp"

namespace th::app {

/// The clients of a server: reads their requests into the queue and writes its answers, on one
/// thread, without waiting for any of them. What a client takes is bounded: a longer request than
/// kLongestRequest is answered with an error and passed over, and who does not read his answers is
/// not read any further.
class Connections {
 public:
  Connections(const ListeningSocket& socket, RequestQueue& queue)
      : socket_(socket), queue_(queue) {}

  /// Serves until a stop signal came, every request that was accepted is answered, and the clients
  /// have their answers, or 10 seconds more have gone by.
  void run();

 private:
  struct Client {
    FileDescriptor socket;
    std::string in, out;
    bool skips = false;     ///< the rest of a line that is too long
    bool finished = false;  ///< sends nothing more
    std::int64_t open = 0;  ///< requests without an answer
  };

  /// Waits for what comes next, at most 100 ms.
  void look();
  void accept();
  void read(std::uint64_t number, Client& client);
  /// A line of a client.
  void handle(std::uint64_t number, Client& client, std::string_view line);
  void take_lines(std::uint64_t number, Client& client);
  void write(Client& client);
  void deliver();
  /// Nothing is on its way to or from a client.
  [[nodiscard]] bool idle();

  const ListeningSocket& socket_;
  RequestQueue& queue_;
  std::map<std::uint64_t, Client> clients_;
  std::uint64_t next_ = 1;
  bool stopping_ = false;
};

}  // namespace th::app
