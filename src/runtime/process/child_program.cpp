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

using Clock = ChildProcess::Clock;

constexpr std::size_t kMostOutput = 64 << 10;

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

[[noreturn]] void fail(const char* call, int error) {
  throw InternalError(std::string("can't be started: ") + call + std::strerror(error));
}

std::int64_t milliseconds_until(Clock::time_point end) {
  return std::max<std::int64_t>(
      0, std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count());
}

}  // namespace

ChildProcess::ChildProcess(const std::string& program, const std::vector<std::string>& arguments,
                           Errors errors) {
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe2: ", errno);
  pipe_ = FileDescriptor(ends[0]);
  const FileDescriptor output(ends[1]);
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  if (errors == Errors::kDropped)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const SpawnAttributes attributes;
  const int failure =
      posix_spawnp(&child_, program.c_str(), &actions, &attributes.value, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) fail("", failure);
}

ChildProcess::~ChildProcess() {
  if (child_ == 0) return;
  kill(-child_, SIGKILL);
  while (waitpid(child_, &status_, 0) < 0 && errno == EINTR) {
  }
}

bool ChildProcess::read_until(Clock::time_point end) {
  for (std::size_t taken = 0; taken < kMostOutput || Clock::now() < end;) {
    const std::int64_t left = milliseconds_until(end);
    pollfd wait{pipe_.get(), POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(std::min<std::int64_t>(left, 1000)));
    if (ready <= 0 && left == 0) return false;
    if (ready <= 0) continue;  // nothing yet, or a signal of this process
    std::array<char, 4096> block{};
    const ssize_t got = read(pipe_.get(), block.data(), block.size());
    if (got == 0) return true;
    if (got <= 0) continue;
    taken += static_cast<std::size_t>(got);
    if (output_.size() < kMostOutput) output_.append(block.data(), static_cast<std::size_t>(got));
  }
  return false;  // it writes without end
}

bool ChildProcess::wait_until(Clock::time_point end) {
  while (child_ != 0) {
    if (waitpid(child_, &status_, WNOHANG) == child_) child_ = 0;
    if (child_ == 0 || Clock::now() >= end) break;
    const timespec pause{0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
  return child_ == 0;
}

ChildResult run_program(const std::string& path, const std::vector<std::string>& arguments,
                        double seconds) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(seconds));
  ChildProcess child(path, arguments, ChildProcess::Errors::kShown);
  ChildResult result;
  const bool ended = child.read_until(end) && child.wait_until(end);
  result.output = child.output();
  if (!ended) {
    result.end = ChildResult::End::kTimedOut;
    return result;
  }
  const int status = child.status();
  result.end = WIFSIGNALED(status) ? ChildResult::End::kSignalled : ChildResult::End::kExited;
  result.code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

}  // namespace th::runtime
