#include "th/runtime/process/child_program.hpp"

#include "th/base/error.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>

extern char** environ;

namespace th::runtime {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostOutput = 64 << 10;

/// A pipe whose ends this process alone has, until one is given to a child.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
      throw InternalError(std::string("can't be started: pipe2: ") + std::strerror(errno));
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t end) {
    if (ends[end] >= 0) close(ends[end]);
    ends[end] = -1;
  }
};

/// posix_spawn's wishes: a process group of its own, no blocked signals, the standard actions.
struct SpawnAttributes {
  posix_spawnattr_t value{};
  SpawnAttributes() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&value);
    posix_spawnattr_setflags(
        &value, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&value, 0);
    posix_spawnattr_setsigmask(&value, &none);
    posix_spawnattr_setsigdefault(&value, &all);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&value); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
};

pid_t start(const std::string& path, const std::vector<std::string>& arguments, int output) {
  std::vector<std::string> words{path};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  const SpawnAttributes attributes;
  pid_t child = -1;
  const int failure =
      posix_spawn(&child, path.c_str(), &actions, &attributes.value, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) throw InternalError(std::string("can't be started: ") + std::strerror(failure));
  return child;
}

/// Reads until the writers are gone; false where the time is over before.
bool read_until(int descriptor, Clock::time_point end, std::string& output) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return false;
    pollfd wait{descriptor, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 1000)));
    if (ready <= 0) continue;  // nothing yet, or a signal of this process
    std::array<char, 4096> block{};
    const ssize_t got = read(descriptor, block.data(), block.size());
    if (got == 0) return true;
    if (got > 0 && output.size() < kMostOutput)
      output.append(block.data(), static_cast<std::size_t>(got));
  }
}

/// Waits for the child; false where the time is over before.
bool wait_until(pid_t child, Clock::time_point end, int& status) {
  for (;;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return true;
    if (Clock::now() >= end) return false;
    const timespec pause{0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace

ChildResult run_program(const std::string& path, const std::vector<std::string>& arguments,
                        double seconds) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(seconds));
  Pipe pipe;
  const pid_t child = start(path, arguments, pipe.ends[1]);
  pipe.close_end(1);
  ChildResult result;
  int status = 0;
  const bool closed = read_until(pipe.ends[0], end, result.output);
  const bool ended = closed && wait_until(child, end, status);
  if (!ended) {
    kill(-child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    result.end = ChildResult::End::kTimedOut;
    return result;
  }
  result.end = WIFSIGNALED(status) ? ChildResult::End::kSignalled : ChildResult::End::kExited;
  result.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

}  // namespace th::runtime
