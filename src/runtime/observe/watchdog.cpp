#include "th/runtime/observe/watchdog.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <mutex>
#include <new>
#include <random>
#include <thread>
#include <utility>

#include "th/base/error.hpp"
#include "th/runtime/memory/resource_usage.hpp"

namespace th::runtime {

/// What the ranks of a node share.
namespace watchdog {

// A text that one process writes while others read: a torn read shows a mixed word, never one past
// its end.
template <std::size_t N>
struct SharedText {
  std::array<std::atomic<char>, N> letters;
  void set(std::string_view text) noexcept {
    const std::size_t count = std::min(text.size(), N - 1);
    for (std::size_t i = 0; i < count; ++i) letters[i].store(text[i], std::memory_order_relaxed);
    letters[count].store('\0', std::memory_order_release);
  }
  [[nodiscard]] std::string get() const {
    std::string text;
    for (std::size_t i = 0; i + 1 < N; ++i) {
      const char c = letters[i].load(std::memory_order_relaxed);
      if (c == '\0') break;
      text += c;
    }
    return text;
  }
};

// One rank's row in shared memory; all zero before the rank comes. Times in nanoseconds of the
// node's monotonic clock.
struct Row {
  std::atomic<std::int64_t> present, rank, pid, sequence, step, waiting, since, heartbeat, ending,
      dumped;
  SharedText<32> phase, call;
  SharedText<64> host;
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free &&
              std::atomic<char>::is_always_lock_free);

}  // namespace watchdog

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

std::string line_of(const Row& row) {
  const std::int64_t pid = row.pid.load();
  const bool gone = ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
  return "rank " + std::to_string(row.rank.load()) + " host " + row.host.get() + " pid " +
         std::to_string(pid) + " phase " + row.phase.get() + " step " +
         std::to_string(row.step.load()) + (gone ? " (the process is gone)" : "") + "\n";
}

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
  std::mutex mutex;
  std::condition_variable wake;
  bool stop = false;
  std::thread thread;

  void map();
  void watch();
  void look(std::int64_t now);
  void report(std::int64_t now, const Row& waiter);
  void write_dump() noexcept;
  [[noreturn]] void leave();
  void unname() {
    if (named) shm_unlink(name.c_str());
    named = false;
  }
  [[nodiscard]] bool answers(const Row& row, std::int64_t now) const {
    return row.present.load() != 0 && now - row.heartbeat.load() < 6 * tick + 2'000'000'000;
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
  std::unique_lock lock(mutex);
  while (!wake.wait_for(lock, std::chrono::nanoseconds(tick), [&] { return stop; })) {
    const std::int64_t now = now_ns();
    // The whole job was suspended, not hung: every wait starts anew.
    if (now - last > 10 * tick + 5'000'000'000) grace_until = now + limit;
    last = now;
    rows[mine].heartbeat.store(now);
    look(now);
  }
}

void Watchdog::Impl::look(std::int64_t now) {
  bool all_here = true, lowest = true, ending = false;
  const Row* waiter = nullptr;
  for (int i = 0; i < count; ++i) {
    const Row& row = rows[i];
    all_here = all_here && row.present.load() != 0;
    ending = ending || row.ending.load() != 0;
    if (!answers(row, now)) continue;
    if (i < mine) lowest = false;
    if (row.waiting.load() == 0 || now - row.since.load() <= limit) continue;
    // The one that is farthest on: whoever still stands in an earlier call was let go from it and
    // did not go on.
    if (waiter == nullptr || row.sequence.load() > waiter->sequence.load()) waiter = &row;
  }
  if (all_here && mine == 0)
    unname();           // mapped by all: no name is left behind, however the run ends
  if (ending) leave();  // another rank of this node has reported
  if (lowest && waiter != nullptr && now > grace_until) report(now, *waiter);
}

void Watchdog::Impl::report(std::int64_t now, const Row& waiter) {
  std::string missing, behind;
  for (int i = 0; i < count; ++i) {
    if (rows[i].present.load() == 0) {
      missing += "a rank of host " + hostname() + " (number " + std::to_string(i) +
                 " on it) has not started\n";
    } else if (&rows[i] != &waiter && away(rows[i], now)) {
      missing += line_of(rows[i]);
    } else if (rows[i].sequence.load() < waiter.sequence.load()) {
      behind += line_of(rows[i]);
    }
  }
  if (missing.empty()) missing = behind;
  // The node with the missing rank speaks first: its report is the one that tells.
  if (missing.empty() && now - waiter.since.load() < limit + 5'000'000'000) return;
  std::string text = "th_app: hang: rank " + std::to_string(waiter.rank.load()) + " has waited " +
                     std::to_string((now - waiter.since.load()) / 1'000'000'000) + " s in " +
                     waiter.call.get() + " (comm.timeout_seconds). ";
  if (missing.empty()) {
    text += "All watched ranks of host " + hostname() +
            " wait alike: the missing rank is on another node, or the network is down. ";
    text += "The rank that waits:\n" + line_of(waiter);
  } else {
    text += "Missing:\n" + missing;
  }
  if (!dump_place.empty()) text += "What the ranks that answer did last is in " + dump_place + "\n";
  print(text);
  report_text = text;
  unname();
  rows[mine].ending.store(1);
  leave();
}

void Watchdog::Impl::write_dump() noexcept {
  try {
    if (!report_text.empty() && !log.empty()) append(log, report_text);
    if (dump) dump();
  } catch (const std::exception& error) {
    print(std::string("th_app: no record of the last events: ") + error.what() + "\n");
  }
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
  Row& row = i.rows[i.mine];
  row.rank.store(options.rank);
  row.pid.store(getpid());
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
  {
    const std::lock_guard lock(i.mutex);
    i.stop = true;
  }
  i.wake.notify_all();
  i.thread.join();
  i.rows[i.mine].waiting.store(0);
  i.rows[i.mine].phase.set("finished");
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

void Watchdog::begin_wait(std::string_view call) noexcept {
  if (impl_->rows == nullptr) return;
  Row& row = impl_->rows[impl_->mine];
  row.call.set(call);
  row.sequence.fetch_add(1);
  row.since.store(now_ns());
  row.waiting.store(1);
}

void Watchdog::end_wait() noexcept {
  if (impl_->rows != nullptr) impl_->rows[impl_->mine].waiting.store(0);
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
