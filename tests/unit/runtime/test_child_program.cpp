#include <gtest/gtest.h>

#include <chrono>

#include "th/base/error.hpp"
#include "th/runtime/process/child_program.hpp"

namespace th::runtime {
namespace {

using End = ChildResult::End;

ChildResult shell(const std::string& script, double seconds = 60) {
  return run_program("/bin/sh", {"-c", script}, seconds);
}

TEST(ChildProgram, GivesOutputAndExitCode) {
  const ChildResult result = shell("echo one; echo two; exit 3");
  EXPECT_EQ(result.end, End::kExited);
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.output, "one\ntwo\n");
}

TEST(ChildProgram, GetsItsArgumentsAsTheyAreAndNothingToRead) {
  EXPECT_EQ(run_program("/bin/sh", {"-c", "echo \"$1|$2\"; cat", "sh", "a b", ""}, 60).output,
            "a b|\n");
}

TEST(ChildProgram, TellsTheSignalThatEndedIt) {
  const ChildResult result = shell("kill -9 $$");
  EXPECT_EQ(result.end, End::kSignalled);
  EXPECT_EQ(result.code, 9);
}

TEST(ChildProgram, IsKilledWithItsOwnChildrenWhenTheTimeIsOver) {
  const auto start = std::chrono::steady_clock::now();
  const ChildResult result = shell("echo begun; sleep 600 & sleep 600", 0.2);
  EXPECT_EQ(result.end, End::kTimedOut);
  EXPECT_EQ(result.output, "begun\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(ChildProgram, KeepsTheBeginOfALongOutput) {
  const ChildResult result = shell("head -c 1000000 /dev/zero");
  EXPECT_EQ(result.code, 0);
  EXPECT_GE(result.output.size(), std::size_t{64} << 10);
  EXPECT_LT(result.output.size(), std::size_t{70} << 10);
}

TEST(ChildProgram, WritesWithoutEndAndIsEndedInTime) {
  const ChildResult result = shell("yes", 0.2);
  EXPECT_EQ(result.end, End::kTimedOut);
  EXPECT_LT(result.output.size(), std::size_t{70} << 10);
}

TEST(ChildProcess, TakesWhatIsThereWithoutWaiting) {
  ChildProcess child("sh", {"-c", "echo now; read line; echo late >&2"},
                     ChildProcess::Errors::kDropped);
  const auto start = std::chrono::steady_clock::now();
  while (!child.read_until(start)) {
    ASSERT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
  }
  EXPECT_EQ(child.output(), "now\n");
  EXPECT_TRUE(child.wait_until(start + std::chrono::seconds(60)));
  EXPECT_EQ(child.status(), 0);
}

TEST(ChildProgram, ThatIsNotThereCannotBeStarted) {
  EXPECT_THROW((void)run_program("/no/such/program", {}, 1), th::InternalError);
}

}  // namespace
}  // namespace th::runtime
