#include "app/serve/listening_socket.hpp"

#include "th/base/error.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace th::app {

namespace {

constexpr int kBacklog = 128;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw DeckError("--serve " + path + ": the path of a socket has at most " +
                    std::to_string(sizeof address.sun_path - 1) + " bytes; name a shorter one");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

void remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0) return;
  if (!S_ISSOCK(about.st_mode))
    throw DeckError("--serve " + path + ": is there already and no socket; name another path");
  const FileDescriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), generic(address), sizeof address) == 0)
    throw DeckError("--serve " + path +
                    ": another server listens there; end it, or name another "
                    "path");
  ::unlink(path.c_str());
}

}  // namespace

ListeningSocket::ListeningSocket(const std::string& path)
    : path_(path), socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  const sockaddr_un address = address_of(path);
  remove_stale(path, address);
  if (socket_.get() < 0 || ::bind(socket_.get(), generic(address), sizeof address) != 0 ||
      ::listen(socket_.get(), kBacklog) != 0)
    throw DataError("--serve " + path + ": can't listen there: " + std::strerror(errno));
}

ListeningSocket::~ListeningSocket() { ::unlink(path_.c_str()); }

FileDescriptor ListeningSocket::accept() const {
  return FileDescriptor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

}  // namespace th::app
