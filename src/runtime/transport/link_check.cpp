#include "th/runtime/transport/link_check.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "th/base/error.hpp"
#include "th/base/log.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {
namespace {

using std::chrono::steady_clock;

constexpr int kTag = 7;
constexpr int kAllPairs = 256;  // ranks

std::optional<std::pair<int, int>> planted_pair(const Environment& env) {
  const char* set = env("TH_FAIL_LINK");
  std::pair<int, int> out;
  if (set == nullptr || std::sscanf(set, "%d-%d", &out.first, &out.second) != 2) return {};
  return out;
}

/// The addresses of this host's network interfaces, as in "eth0 10.0.0.2, ib0 10.1.0.2".
std::string interfaces_text() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return "unknown";
  std::string out;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    if ((one->ifa_flags & IFF_UP) == 0 || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    sockaddr_in address{};
    std::memcpy(&address, one->ifa_addr, sizeof address);
    std::array<char, INET_ADDRSTRLEN> text{};
    inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    out.append(out.empty() ? "" : ", ").append(one->ifa_name).append(" ").append(text.data());
  }
  freeifaddrs(list);
  return out.empty() ? "none" : out;
}

/// The ranks that `rank` exchanges a message with, in rising order.
std::vector<int> partners_of(int rank, int ranks) {
  std::vector<int> out;
  if (ranks <= kAllPairs) {
    for (int other = 0; other < ranks; ++other)
      if (other != rank) out.push_back(other);
    return out;
  }
  for (int distance = 1; distance < ranks; distance *= 2) {
    out.push_back((rank + distance) % ranks);
    out.push_back((rank + ranks - distance) % ranks);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

/// "rank 2", "ranks 2, 3, 5"; from the eleventh on "…".
std::string ranks_text(const std::vector<int>& ranks) {
  constexpr std::size_t kTold = 10;
  std::string out = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < std::min(ranks.size(), kTold); ++i)
    out.append(i > 0 ? ", " : "").append(std::to_string(ranks[i]));
  return ranks.size() > kTold ? out + ", …" : out;
}

/// The exchange of one rank with its partners. Of a pair the lower rank sends first and the other
/// one answers, so that one side alone opens the connection: Open MPI's TCP transport has had races
/// where both do at once. The buffers live as long as the process where a message has not come: MPI
/// may still write to them.
struct Exchange {
  struct Partner {
    int rank = 0;
    bool sent = false;
    MPI_Request receive = MPI_REQUEST_NULL, send = MPI_REQUEST_NULL;
    char received = 0;
  };
  MPI_Comm world = MPI_COMM_NULL;
  int rank = 0;
  std::optional<std::pair<int, int>> cut;
  std::vector<Partner> partners;
  char message = 0;

  void send(Partner& to) {
    to.sent = true;
    if (cut && std::minmax(rank, to.rank) == std::minmax(cut->first, cut->second)) return;
    check_mpi(MPI_Isend(&message, 1, MPI_CHAR, to.rank, kTag, world, &to.send), "MPI_Isend");
  }
};

void begin(Exchange& exchange) {
  for (Exchange::Partner& one : exchange.partners) {
    check_mpi(MPI_Irecv(&one.received, 1, MPI_CHAR, one.rank, kTag, exchange.world, &one.receive),
              "MPI_Irecv");
    if (one.rank > exchange.rank) exchange.send(one);
  }
}

/// The partners of whom a message has not come, or to whom one has not gone; those that wait for an
/// answer get it.
std::vector<int> silent_ones(Exchange& exchange) {
  std::vector<int> out;
  for (Exchange::Partner& one : exchange.partners) {
    int came = 0, went = 0;
    check_mpi(MPI_Test(&one.receive, &came, MPI_STATUS_IGNORE), "MPI_Test");
    if (came != 0 && !one.sent) exchange.send(one);
    check_mpi(MPI_Test(&one.send, &went, MPI_STATUS_IGNORE), "MPI_Test");
    if (came == 0 || went == 0) out.push_back(one.rank);
  }
  return out;
}

std::string silence_text(int rank, const std::vector<int>& silent,
                         std::chrono::duration<double> limit, const Environment& env) {
  std::array<char, 32> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%g", limit.count());
  const char* chosen = env("OMPI_MCA_btl_tcp_if_include");
  return "broken launch: rank " + std::to_string(rank) + " on " + hostname() + " and " +
         ranks_text(silent) + " exchanged no message within " + seconds.data() +
         " s, so nothing was trained. Interfaces of this host: " + interfaces_text() +
         (chosen == nullptr ? std::string() : "; MPI was told to use " + std::string(chosen)) +
         ". Name one that leads to the other hosts by `mpirun --mca btl_tcp_if_include NAME` "
         "(under srun: OMPI_MCA_btl_tcp_if_include=NAME), or look for a firewall; "
         "TH_LINK_SECONDS changes the limit";
}

/// An error text about the ranks that did not answer within `limit`; empty when all did. After an
/// error the process must not communicate again.
std::string check_links(MPI_Comm world, std::chrono::duration<double> limit,
                        const Environment& env) {
  int rank = 0, ranks = 1;
  check_mpi(MPI_Comm_rank(world, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(world, &ranks), "MPI_Comm_size");
  auto exchange = std::make_unique<Exchange>();
  exchange->world = world;
  exchange->rank = rank;
  exchange->cut = planted_pair(env);
  for (const int other : partners_of(rank, ranks)) exchange->partners.emplace_back().rank = other;
  begin(*exchange);
  const auto end = steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(limit);
  while (true) {
    const std::vector<int> silent = silent_ones(*exchange);
    if (silent.empty()) return {};
    if (steady_clock::now() > end) {
      (void)exchange.release();
      return silence_text(rank, silent, limit, env);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

/// TH_LINK_SECONDS, or 60 s where it is not set.
std::chrono::duration<double> link_limit(const Environment& env) {
  constexpr double kDefaultSeconds = 60;
  const char* set = env("TH_LINK_SECONDS");
  if (set == nullptr || *set == '\0') return std::chrono::duration<double>(kDefaultSeconds);
  const std::string_view text = set;
  double seconds = 0;
  const auto [rest, code] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (code != std::errc() || rest != text.data() + text.size() || !(seconds > 0 && seconds < 1e6))
    throw DeckError("TH_LINK_SECONDS=" + std::string(text) +
                    ": a number of seconds above 0 and below 1000000 is allowed");
  return std::chrono::duration<double>(seconds);
}

}  // namespace

void require_links(MPI_Comm world, const Environment& env) {
  MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
  int rank = 0;
  check_mpi(MPI_Comm_rank(world, &rank), "MPI_Comm_rank");
  const std::string problem = check_links(world, link_limit(env), env);
  if (problem.empty()) return;
  tell_of_rank(rank, hostname(), "error: " + problem);
  // The other side of the pair has a line too: the launch ends when both have come through.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  MPI_Abort(world, static_cast<int>(ExitCode::kCommunication));
}

}  // namespace th::runtime
