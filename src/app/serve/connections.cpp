#include "app/serve/connections.hpp"

#include "app/stream/stop_requested.hpp"
#include "th/base/error.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <utility>
#include <vector>

namespace th::app {

namespace {

constexpr std::size_t kMostClients = 1000;
constexpr std::size_t kMostUnread = std::size_t{4} << 20;  // bytes of answers of a client

bool would_wait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

void Connections::run() {
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> answered;
  while (true) {
    look();
    deliver();
    stopping_ = stop_requested();
    if (!stopping_ || queue_.pending() > 0) continue;
    if (idle()) return;
    if (!answered) answered = Clock::now();
    if (Clock::now() - *answered > std::chrono::seconds(10)) return;
  }
}

void Connections::look() {
  std::vector<pollfd> asked{{queue_.wake_up(), POLLIN, 0}};
  if (!stopping_ && clients_.size() < kMostClients) asked.push_back({socket_.get(), POLLIN, 0});
  const std::size_t first = asked.size();
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, client] : clients_) {
    const bool reads = !client.finished && client.out.size() < kMostUnread;
    const int events = (reads ? POLLIN : 0) | (client.out.empty() ? 0 : POLLOUT);
    asked.push_back({client.socket.get(), static_cast<short>(events), 0});
    numbers.push_back(number);
  }
  if (::poll(asked.data(), asked.size(), 100) <= 0) return;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const short events = asked[first + i].revents;
    Client& client = clients_.at(numbers[i]);
    if ((events & POLLIN) != 0) read(numbers[i], client);
    if ((events & POLLOUT) != 0) write(client);
    const bool gone =
        (events & (POLLERR | POLLNVAL)) != 0 || ((events & POLLHUP) != 0 && (events & POLLIN) == 0);
    if (gone || (client.finished && client.open == 0 && client.out.empty()))
      clients_.erase(numbers[i]);
  }
  if (first == 2 && (asked[1].revents & POLLIN) != 0) accept();
}

void Connections::accept() {
  while (clients_.size() < kMostClients) {
    FileDescriptor socket = socket_.accept();
    if (socket.get() < 0) return;
    clients_[next_++].socket = std::move(socket);
  }
}

void Connections::read(std::uint64_t number, Client& client) {
  std::array<char, 65536> block{};
  const ssize_t got = ::recv(client.socket.get(), block.data(), block.size(), 0);
  if (got < 0 && would_wait()) return;
  if (got <= 0) {
    client.finished = true;
    if (got == 0 && !client.in.empty()) handle(number, client, std::exchange(client.in, {}));
    return;
  }
  client.in.append(block.data(), static_cast<std::size_t>(got));
  take_lines(number, client);
}

void Connections::take_lines(std::uint64_t number, Client& client) {
  std::size_t at = 0;
  for (std::size_t end = 0; (end = client.in.find('\n', at)) != std::string::npos; at = end + 1) {
    if (!std::exchange(client.skips, false))
      handle(number, client, std::string_view(client.in).substr(at, end - at));
  }
  client.in.erase(0, at);
  if (client.in.size() <= kLongestRequest) return;
  if (!std::exchange(client.skips, true))
    client.out += error_line(
        "null", "the request has more than " + std::to_string(kLongestRequest) + " bytes");
  client.in.clear();
}

void Connections::handle(std::uint64_t number, Client& client, std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() > kLongestRequest) {
    client.out += error_line(
        "null", "the request has more than " + std::to_string(kLongestRequest) + " bytes");
    return;
  }
  ParsedLine parsed = parse_request_line(line);
  parsed.request.client = number;
  const std::string id = parsed.request.id;
  if (parsed.fault.empty() && stopping_) parsed.fault = "the server ends";
  if (parsed.fault.empty() && queue_.accept(std::move(parsed.request)))
    ++client.open;
  else
    client.out += error_line(id, parsed.fault.empty() ? "busy" : parsed.fault);
}

void Connections::write(Client& client) {
  const ssize_t put =
      ::send(client.socket.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
  if (put > 0) client.out.erase(0, static_cast<std::size_t>(put));
  if (put < 0 && !would_wait()) {
    client.finished = true;
    client.out.clear();
  }
}

void Connections::deliver() {
  for (RequestQueue::Answer& answer : queue_.fetch()) {
    const auto client = clients_.find(answer.client);
    if (client == clients_.end()) continue;  // has gone
    --client->second.open;
    client->second.out += answer.line;
  }
}

bool Connections::idle() {
  for (const auto& [number, client] : clients_) {
    if (!client.out.empty()) return false;
  }
  return true;
}

}  // namespace th::app
