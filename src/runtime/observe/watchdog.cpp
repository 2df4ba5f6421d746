#include "th/runtime/observe/watchdog.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <mutex>
#include <new>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/observe/stacks.hpp"
#include "runtime/observe/watchdog_row.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/resource_usage.hpp"

namespace th::runtime {

namespace {

using watchdog::Row;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void print(const std::string& text, int file = STDERR_FILENO) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file, text.data() + done, text.size() - done);
    if (wrote <= 0) return;
    done += static_cast<std::size_t>(wrote);
  }
}

/// Appends to a log that exists, with the time before it as Log has it.
void append(const std::string& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0) return;
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  std::array<char, 32> when{};
  localtime_r(&seconds, &local);
  std::strftime(when.data(), when.size(), "%Y-%m-%d %H:%M:%S ", &local);
  print(when.data() + text, file);
  close(file);
}

/// How long after a rank's end the others wait until they tell of it.
constexpr std::int64_t kMassacre = 50'000'000;

int open_process(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

struct Watchdog::Impl {
  WatchdogOptions options;
  std::string name;  // of the shared memory, empty when alone
  std::size_t size = 0;
  Row* rows = nullptr;
  int count = 1, mine = 0;
  std::int64_t limit = 0, tick = 0, grace_until = 0;
  bool named = false;
  std::string dump_place;
  std::function<void()> dump;
  std::string log, report_text;  // the report of this rank, if it is the one that reports
  std::vector<std::string> units;
  std::mutex mutex;
  // A pidfd for each row, which tells that its process has ended; -1 before it is opened and after
  // it has told. The last entry is `stop`.
  std::vector<pollfd> processes;
  std::vector<std::int64_t> died;  // when this was seen; 0: lives
  int stop = -1;                   // an eventfd
  std::thread thread;

  void map();
  void watch();
  [[nodiscard]] bool stopped(std::int64_t now);
  void look(std::int64_t now);
  void report_death(std::int64_t now, const Row& dead);
  void report_alone(std::int64_t now, const Row& row);
  [[nodiscard]] static std::string headline(const Row& row, std::int64_t waited,
                                            const std::string& call);
  void report(std::int64_t now, const Row& waiter);
  [[noreturn]] void end(std::string text);
  void write_dump() noexcept;
  [[noreturn]] void leave();
  void unname() {
    if (named) shm_unlink(name.c_str());
    named = false;
  }
  [[nodiscard]] bool answers(const Row& row, std::int64_t now) const {
    return row.present.load() != 0 && died[static_cast<std::size_t>(&row - rows)] == 0 &&
           now - row.heartbeat.load() < 6 * tick + 2'000'000'000;
  }
  // Whether a rank is stuck elsewhere than in a collective: then the others wait for it.
  [[nodiscard]] bool away(const Row& row, std::int64_t now) const {
    return row.waiting.load() == 0 || !answers(row, now);
  }
};

void Watchdog::Impl::map() {
  count = std::max(1, options.local_size);
  mine = std::clamp(options.local_rank, 0, count - 1);
  size = sizeof(Row) * static_cast<std::size_t>(count);
  void* memory = MAP_FAILED;
  if (count > 1 && !options.token.empty()) {
    name = "/th_watchdog_" + options.token;
    const int file = shm_open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    // posix_fallocate takes the pages now: a full /dev/shm is an error here, not a SIGBUS later
    if (file >= 0 && posix_fallocate(file, 0, static_cast<off_t>(size)) == 0)
      memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    named = file >= 0;
  }
  if (memory == MAP_FAILED) {
    unname();
    count = 1;
    mine = 0;
    size = sizeof(Row);
    memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
  }
  rows = static_cast<Row*>(memory);  // zero bytes are valid values of its atomics
}

void Watchdog::Impl::watch() {
  std::int64_t last = now_ns();
  while (!stopped(last)) {
    const std::int64_t now = now_ns();
    const std::lock_guard lock(mutex);
    // The whole job was suspended, not hung: every wait starts anew.
    if (now - last > 10 * tick + 5'000'000'000) grace_until = now + limit;
    last = now;
    rows[mine].heartbeat.store(now);
    look(now);
  }
}

/// Waits for a tick, or until a process ends; whether this one is to stop watching.
bool Watchdog::Impl::stopped(std::int64_t now) {
  bool soon = false;  // a rank is still to come, or a death to be told
  for (int i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (i == mine || processes[at].fd >= 0) continue;
    const bool present = rows[i].present.load() != 0;
    if (present && rows[i].pid_space.load() != rows[mine].pid_space.load()) continue;
    soon = true;
    if (!present || died[at] != 0) continue;
    processes[at].fd = open_process(static_cast<pid_t>(rows[i].pid.load()));
    if (processes[at].fd < 0 && errno == ESRCH) died[at] = now;
  }
  const std::int64_t until = now + (soon ? std::min(tick, kMassacre / 2) : tick);
  const auto wait = std::clamp<std::int64_t>((until - now_ns()) / 1'000'000, 1, tick / 1'000'000);
  if (::poll(processes.data(), processes.size(), static_cast<int>(wait)) <= 0) return false;
  for (int i = 0; i < count; ++i) {
    pollfd& process = processes[static_cast<std::size_t>(i)];
    if (process.fd < 0 || process.revents == 0) continue;
    close(process.fd);
    process.fd = -1;
    died[static_cast<std::size_t>(i)] = now_ns();
  }
  return processes.back().revents != 0;
}

void Watchdog::Impl::look(std::int64_t now) {
  bool all_here = true, lowest = true, ending = false;
  const Row *waiter = nullptr, *reader = nullptr, *dead = nullptr;
  for (int i = 0; i < count; ++i) {
    const Row& row = rows[i];
    all_here = all_here && row.present.load() != 0;
    ending = ending || row.ending.load() != 0;
    if (died[static_cast<std::size_t>(i)] != 0 && row.finished.load() == 0) dead = &row;
    if (!answers(row, now)) continue;
    if (i < mine && row.finished.load() == 0) lowest = false;
    if (row.alone(now) > limit) reader = &row;
    if (row.waiting.load() == 0 || now - row.since.load() <= limit) continue;
    // The one that is farthest on: whoever still stands in an earlier call was let go from it and
    // did not go on.
    if (waiter == nullptr || row.sequence.load() > waiter->sequence.load()) waiter = &row;
  }
  if (all_here && mine == 0)
    unname();           // mapped by all: no name is left behind, however the run ends
  if (ending) leave();  // another rank of this node has reported
  if (!lowest) return;
  if (dead != nullptr) report_death(now, *dead);
  if (now <= grace_until) return;
  if (waiter != nullptr) report(now, *waiter);
  // What others wait for is told by their report.
  if (reader != nullptr && reader->alone(now) > limit + 2'000'000'000) report_alone(now, *reader);
}

std::string Watchdog::Impl::headline(const Row& row, std::int64_t waited, const std::string& call) {
  return "th_app: hang: rank " + std::to_string(row.rank.load()) + " has waited " +
         std::to_string(waited / 1'000'000'000) + " s in " + call + " (comm.timeout_seconds). ";
}

void Watchdog::Impl::report_alone(std::int64_t now, const Row& row) {
  end(headline(row, row.alone(now), row.alone_in.get()) + "It waits for no other rank:\n" +
      watchdog::line_of(row, units, now));
}

/// Not at once: a launcher that kills all ranks one after another would have each death told.
void Watchdog::Impl::report_death(std::int64_t now, const Row& dead) {
  if (now - died[static_cast<std::size_t>(&dead - rows)] < kMassacre) return;
  end("th_app: a rank has ended without a word: it was killed, or the system had no memory left "
      "for it (dmesg and the scheduler's log tell). Gone:\n" +
      watchdog::line_of(dead, units, now));
}

void Watchdog::Impl::report(std::int64_t now, const Row& waiter) {
  std::string missing, behind;
  for (int i = 0; i < count; ++i) {
    if (rows[i].present.load() == 0) {
      missing += "a rank of host " + hostname() + " (number " + std::to_string(i) +
                 " on it) has not started\n";
    } else if (&rows[i] != &waiter && away(rows[i], now)) {
      missing += watchdog::line_of(rows[i], units, now);
    } else if (rows[i].sequence.load() < waiter.sequence.load()) {
      behind += watchdog::line_of(rows[i], units, now);
    }
  }
  if (missing.empty()) missing = behind;
  // The node with the missing rank speaks first: its report is the one that tells.
  if (missing.empty() && now - waiter.since.load() < limit + 5'000'000'000) return;
  std::string text = headline(waiter, now - waiter.since.load(), waiter.call.get());
  if (missing.empty()) {
    text += "All watched ranks of host " + hostname() +
            " wait alike: the missing rank is on another node, or the network is down. ";
    text += "The rank that waits:\n" + watchdog::line_of(waiter, units, now);
  } else {
    text += "Missing:\n" + missing;
  }
  end(std::move(text));
}

/// Prints the report, and ends this rank and with it the others of its node.
void Watchdog::Impl::end(std::string text) {
  if (!dump_place.empty()) text += "What the ranks that answer did last is in " + dump_place + "\n";
  print(text);
  report_text = text;
  unname();
  rows[mine].ending.store(1);
  leave();
}

void Watchdog::Impl::write_dump() noexcept {
  const auto attempt = [](const char* what, const auto& work) {
    try {
      work();
    } catch (const std::exception& error) {
      print(std::string("th_app: no record of ") + what + ": " + error.what() + "\n");
    }
  };
  if (!report_text.empty() && !log.empty()) append(log, report_text);
  attempt("the last events", [&] {
    if (dump) dump();
  });
  attempt("the stacks", [&] {
    if (!log.empty()) write_stacks(stacks_file(log, options.rank));
  });
  rows[mine].dumped.store(1);
}

/// When all that answer have dumped, or two seconds later: a launcher kills the others once one has
/// left, and a disk may hang as well.
void Watchdog::Impl::leave() {
  std::thread([this] { write_dump(); }).detach();
  const std::int64_t until = now_ns() + 2'000'000'000;
  const auto all_dumped = [&] {
    const std::int64_t now = now_ns();
    return std::all_of(rows, rows + count, [&](const Row& row) {
      return row.dumped.load() != 0 || !answers(row, now);
    });
  };
  while (now_ns() < until && !all_dumped())
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  _exit(static_cast<int>(ExitCode::kCommunication));
}

std::string make_watchdog_token() {
  std::random_device random;
  return std::to_string(getpid()) + "x" + std::to_string(random()) + "x" + std::to_string(now_ns());
}

Watchdog::Watchdog(const WatchdogOptions& options) : impl_(std::make_unique<Impl>()) {
  Impl& i = *impl_;
  i.options = options;
  if (!(options.timeout_seconds > 0)) return;
  i.limit = static_cast<std::int64_t>(std::min(options.timeout_seconds, 1e9) * 1e9);
  i.tick = std::clamp<std::int64_t>(i.limit / 10, 10'000'000, 500'000'000);
  i.map();
  i.died.assign(static_cast<std::size_t>(i.count), 0);
  i.processes.assign(static_cast<std::size_t>(i.count), {-1, POLLIN, 0});
  i.stop = eventfd(0, EFD_CLOEXEC);
  i.processes.push_back({i.stop, POLLIN, 0});
  prepare_stacks();
  Row& row = i.rows[i.mine];
  row.rank.store(options.rank);
  row.pid.store(getpid());
  row.pid_space.store(watchdog::pid_space());
  row.host.set(hostname());
  row.phase.set("start");
  row.heartbeat.store(now_ns());
  row.present.store(1);
  sigset_t all, before;  // the thread takes no signals: they are the main thread's
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  i.thread = std::thread([&i] { i.watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  Impl& i = *impl_;
  if (i.rows == nullptr) return;
  i.rows[i.mine].finished.store(1);
  i.rows[i.mine].waiting.store(0);
  i.rows[i.mine].phase.set("finished");
  const std::uint64_t one = 1;
  (void)!::write(i.stop, &one, sizeof one);
  i.thread.join();
  for (const pollfd& process : i.processes) {
    if (process.fd >= 0) close(process.fd);
  }
  if (i.mine == 0) i.unname();
  munmap(i.rows, i.size);
}

void Watchdog::all_have_come() noexcept {
  if (impl_->rows == nullptr || impl_->mine != 0) return;
  const std::lock_guard lock(impl_->mutex);
  impl_->unname();
}

void Watchdog::enter(std::string_view phase, std::int64_t step) noexcept {
  if (impl_->rows == nullptr) return;
  Row& row = impl_->rows[impl_->mine];
  row.phase.set(phase);
  row.step.store(step);
}

void Watchdog::begin_wait(std::string_view call, For whom) noexcept {
  if (impl_->rows == nullptr) return;
  Row& row = impl_->rows[impl_->mine];
  if (whom == For::kItself) {
    row.alone_in.set(call);
    row.alone_since.store(now_ns());
    return;
  }
  row.call.set(call);
  row.sequence.fetch_add(1);
  row.since.store(now_ns());
  row.waiting.store(1);
}

void Watchdog::end_wait(For whom) noexcept {
  if (impl_->rows == nullptr) return;
  Row& row = impl_->rows[impl_->mine];
  (whom == For::kItself ? row.alone_since : row.waiting).store(0);
}

Activity* Watchdog::activity() noexcept {
  return impl_->rows == nullptr ? nullptr : &impl_->rows[impl_->mine].activity;
}

void Watchdog::name_units(std::vector<std::string> names) {
  const std::lock_guard lock(impl_->mutex);
  impl_->units = std::move(names);
}

void Watchdog::report_also_to(std::string file) noexcept {
  const std::lock_guard lock(impl_->mutex);
  impl_->log = std::move(file);
}

void Watchdog::set_dump(std::string place, std::function<void()> dump) noexcept {
  const std::lock_guard lock(impl_->mutex);
  impl_->dump_place = std::move(place);
  impl_->dump = std::move(dump);
}

}  // namespace th::runtime
