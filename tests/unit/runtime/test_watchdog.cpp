#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "th/runtime/observe/flight_record.hpp"
#include "th/runtime/observe/watchdog.hpp"

namespace {

using th::runtime::Watchdog;

struct Child {
  pid_t pid = 0;
  int out = -1;
};

// Runs `work` in a process of its own whose stderr comes through a pipe; it ends with 0 when work
// returns.
Child start(const std::function<void()>& work) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) std::abort();
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    alarm(30);
    work();
    _exit(0);
  }
  close(ends[1]);
  return {pid, ends[0]};
}

std::string read_all(int file) {
  std::string text;
  std::array<char, 512> part{};
  for (ssize_t n = 0; (n = read(file, part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(n));
  close(file);
  return text;
}

int exit_of(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void pause_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

TEST(Watchdog, NamesTheRankThatDidNotCome) {
  const std::string token = th::runtime::make_watchdog_token();
  const Child busy = start([&] {
    Watchdog dog({token, 4, 0, 2, 0.5});
    dog.enter("forward", 12);
    pause_for(25);
  });
  const Child waiter = start([&] {
    Watchdog dog({token, 5, 1, 2, 0.5});
    dog.enter("backward", 12);
    dog.begin_wait("all_reduce");
    pause_for(25);
  });
  EXPECT_EQ(exit_of(busy.pid), 7);
  EXPECT_EQ(exit_of(waiter.pid), 7);
  const std::string text = read_all(busy.out) + read_all(waiter.out);
  EXPECT_NE(text.find("rank 4 host "), std::string::npos) << text;
  EXPECT_NE(text.find(" pid " + std::to_string(busy.pid) + " phase forward step 12, state "),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("phase backward"), std::string::npos) << text;
  EXPECT_FALSE(std::filesystem::exists("/dev/shm/th_watchdog_" + token));
}

TEST(Watchdog, StoppedLowestRankIsReportedByTheNext) {
  const std::string token = th::runtime::make_watchdog_token();
  const Child stopped = start([&] {
    Watchdog dog({token, 0, 0, 2, 0.5});
    dog.enter("update", 3);
    raise(SIGSTOP);
  });
  const Child waiter = start([&] {
    Watchdog dog({token, 1, 1, 2, 0.5});
    dog.enter("update", 3);
    dog.begin_wait("barrier");
    pause_for(25);
  });
  EXPECT_EQ(exit_of(waiter.pid), 7);
  kill(stopped.pid, SIGKILL);
  exit_of(stopped.pid);
  const std::string text = read_all(waiter.out);
  EXPECT_NE(text.find("pid " + std::to_string(stopped.pid) + " phase update step 3"),
            std::string::npos)
      << text;
  read_all(stopped.out);
}

TEST(Watchdog, EveryRankThatAnswersDumpsBeforeItEnds) {
  const std::string token = th::runtime::make_watchdog_token();
  const auto dump_of = [](int rank) {
    return [rank] {
      pause_for(0.3);  // a slow disk
      const std::string text = "dump of rank " + std::to_string(rank) + "\n";
      if (write(STDERR_FILENO, text.data(), text.size()) < 0) std::abort();
    };
  };
  const Child stuck = start([&] {
    Watchdog dog({token, 0, 0, 3, 0.5});
    dog.set_dump("folder", dump_of(0));
    pause_for(25);
  });
  const Child waiter = start([&] {
    Watchdog dog({token, 1, 1, 3, 0.5});
    dog.set_dump("folder", dump_of(1));
    dog.begin_wait("barrier");
    pause_for(25);
  });
  const Child stubborn = start([&] {  // its disk hangs
    Watchdog dog({token, 2, 2, 3, 0.5});
    dog.set_dump("folder", [] { pause_for(25); });
    dog.begin_wait("barrier");
    pause_for(25);
  });
  const std::array<Child, 3> all{stuck, waiter, stubborn};
  std::string text;
  for (const Child& child : all) {
    EXPECT_EQ(exit_of(child.pid), 7);
    text += read_all(child.out);
  }
  EXPECT_NE(text.find("dump of rank 0"), std::string::npos) << text;
  EXPECT_NE(text.find("dump of rank 1"), std::string::npos) << text;
  EXPECT_NE(text.find("What the ranks that answer did last is in folder\n"), std::string::npos)
      << text;
}

TEST(Watchdog, TheReportIsInTheLogTooWhoeverPrintsIt) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("th_watchdog_log_" + std::to_string(getpid()));
  std::ofstream(path) << "2026-01-01 00:00:00 a line of before\n";
  const std::string token = th::runtime::make_watchdog_token();
  const auto run = [&](int rank) {
    Watchdog dog({token, rank, rank, 3, 0.5});
    dog.report_also_to(path);
    if (rank > 0) dog.begin_wait("barrier");
    pause_for(25);
  };
  std::vector<Child> all;
  for (int rank = 0; rank < 3; ++rank) all.push_back(start([&] { run(rank); }));
  std::string text;
  for (const Child& child : all) {
    EXPECT_EQ(exit_of(child.pid), 7);
    text += read_all(child.out);
  }
  std::ifstream in(path);
  const std::string log((std::istreambuf_iterator<char>(in)), {});
  std::filesystem::remove(path);
  EXPECT_TRUE(log.starts_with("2026-01-01 00:00:00 a line of before\n20")) << log;
  EXPECT_EQ(log.substr(log.find("th_app: hang: ")), text) << "once, as on stderr";
  EXPECT_EQ(log.find("hang:"), log.rfind("hang:"));
}

TEST(Watchdog, ADumpThatFailsSaysSo) {
  const Child child = start([] {
    Watchdog dog({"", 0, 0, 1, 0.3});
    dog.set_dump("nowhere", [] { throw std::runtime_error("the disk is full"); });
    dog.begin_wait("barrier");
    pause_for(25);
  });
  EXPECT_EQ(exit_of(child.pid), 7);
  EXPECT_NE(read_all(child.out).find("no record of the last events: the disk is full"),
            std::string::npos);
}

TEST(Watchdog, ShortWaitsAndNoLimitPass) {
  const Child child = start([] {
    Watchdog dog({"", 0, 0, 1, 0.3});
    for (int i = 0; i < 8; ++i) {
      const th::runtime::WaitScope wait(&dog, "barrier");
      pause_for(0.1);
    }
    Watchdog off({"", 0, 0, 1, 0});
    off.begin_wait("barrier");
    pause_for(0.1);
  });
  EXPECT_EQ(exit_of(child.pid), 0);
  EXPECT_EQ(read_all(child.out), "");
}

TEST(Watchdog, ARankThatIsKilledIsNamedWithWhatItDid) {
  const std::string token = th::runtime::make_watchdog_token();
  const auto work = [&](int rank) {
    th::runtime::FlightRecord record;
    Watchdog dog({token, rank, rank, 3, 60});
    dog.name_units({"embeddings", "encoder.layers.0"});
    record.show_in(dog.activity());
    dog.enter("training", 5);
    using What = th::runtime::FlightRecord::What;
    record.begin(record.open(What::kBackward, th::runtime::FlightRecord::On::kCompute, 1),
                 th::runtime::monotonic_ns());
    if (rank == 1) {
      pause_for(0.5);
      raise(SIGKILL);
    }
    dog.begin_wait("barrier");
    pause_for(25);
  };
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Child> all;
  for (int rank = 0; rank < 3; ++rank) all.push_back(start([&] { work(rank); }));
  EXPECT_EQ(exit_of(all[0].pid), 7);
  EXPECT_EQ(exit_of(all[2].pid), 7);
  EXPECT_EQ(exit_of(all[1].pid), -1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  const std::string text = read_all(all[0].out) + read_all(all[1].out) + read_all(all[2].out);
  EXPECT_NE(text.find("ended without a word"), std::string::npos) << text;
  EXPECT_NE(text.find("pid " + std::to_string(all[1].pid) +
                      " phase training step 5, compute: backward of encoder.layers.0 for "),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(" s (the process is gone)\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("rank 0 host"), std::string::npos) << text;
}

TEST(Watchdog, ARankThatLeavesInOrderIsNotMissed) {
  const std::string token = th::runtime::make_watchdog_token();
  const auto work = [&](int rank) {
    Watchdog dog({token, rank, rank, 2, 60});
    pause_for(rank == 0 ? 0.3 : 1.5);
  };
  const Child first = start([&] { work(0); });
  const Child second = start([&] { work(1); });
  EXPECT_EQ(exit_of(first.pid), 0);
  EXPECT_EQ(exit_of(second.pid), 0);
  EXPECT_EQ(read_all(first.out) + read_all(second.out), "");
}

TEST(Watchdog, AWaitForNobodyIsSeenByARankAlone) {
  const Child child = start([] {
    Watchdog dog({"", 0, 0, 1, 0.3});
    const th::runtime::WaitScope wait(&dog, "the reading of a batch", Watchdog::For::kItself);
    pause_for(25);
  });
  EXPECT_EQ(exit_of(child.pid), 7);
  const std::string text = read_all(child.out);
  EXPECT_NE(text.find(" s in the reading of a batch (comm.timeout_seconds). It waits for no other "
                      "rank:\nrank 0 host "),
            std::string::npos)
      << text;
}

TEST(Watchdog, TheStacksOfAHangTellWhereEachThreadIs) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("th_watchdog_stacks_" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "run.log") << "";
  const Child child = start([&] {
    Watchdog dog({"", 3, 0, 1, 0.3});
    dog.report_also_to(folder / "run.log");
    dog.begin_wait("barrier");
    pause_for(25);
  });
  EXPECT_EQ(exit_of(child.pid), 7);
  read_all(child.out);
  std::ifstream in(folder / "stacks.00003.txt");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(text.find("thread " + std::to_string(child.pid) + " (main)\n  "), std::string::npos)
      << text;
  EXPECT_NE(text.find("main"), std::string::npos) << text;
  EXPECT_NE(text.find("sleep"), std::string::npos) << text;
  std::filesystem::remove_all(folder);
}

}  // namespace
