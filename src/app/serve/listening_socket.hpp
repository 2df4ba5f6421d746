#pragma once

#include <string>

#include "th/base/file_descriptor.hpp"

namespace th::app {

/// A UNIX stream socket that listens at a path, which goes with it.
class ListeningSocket {
 public:
  /// Takes the place of a socket that nobody listens at any more. Throws DeckError where a server
  /// is there, where the path is something else, or too long; DataError where it can't be made.
  explicit ListeningSocket(const std::string& path);
  ~ListeningSocket();
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;
  [[nodiscard]] int get() const noexcept { return socket_.get(); }
  /// The next client, -1 where there is none.
  [[nodiscard]] FileDescriptor accept() const;

 private:
  std::string path_;
  FileDescriptor socket_;
};

}  // namespace th::app
