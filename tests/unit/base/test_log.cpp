#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "th/base/error.hpp"
#include "th/base/log.hpp"

namespace {

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Log, RankZeroPrintsToStdoutAndFile) {
  const auto path = std::filesystem::path(testing::TempDir()) / "th_log_test.log";
  std::filesystem::remove(path);
  testing::internal::CaptureStdout();
  {
    th::Log log(0, "node1");
    log.info("before");
    log.open_file(path.string());
    log.info("100% {} done");
    log.warn("late");
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "before\n100% {} done\nwarning: late\n");
  const std::string text = file_text(path);
  EXPECT_EQ(text.find("before"), std::string::npos);
  EXPECT_NE(text.find(" 100% {} done\n"), std::string::npos);
  EXPECT_NE(text.find(" warning: late\n"), std::string::npos);
  std::filesystem::remove(path);
}

TEST(Log, OtherRanksPrintOnlyWarningsAndErrorsWithTheirName) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  th::Log log(3, "node2");
  log.info("quiet");
  log.error("bad");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "[rank 3 node2] error: bad\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(Log, OtherRanksKeepTheirWarningsWhereTheyAreAskedTo) {
  testing::internal::CaptureStderr();
  {
    th::Log log(3, "node2");
    log.hold_warnings();
    EXPECT_FALSE(log.holds());
    log.warn("one");
    log.warn("two");
    log.error("bad");
    EXPECT_TRUE(log.holds());
    EXPECT_EQ(log.take_warnings(), (std::vector<std::string>{"one", "two"}));
    EXPECT_FALSE(log.holds());
    log.warn("three");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "[rank 3 node2] error: bad\n[rank 3 node2] warning: three\n");
  testing::internal::CaptureStdout();
  th::Log root(0, "node1");
  root.hold_warnings();
  root.warn("at once");
  EXPECT_FALSE(root.holds());
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "warning: at once\n");
}

TEST(Log, FileThatCannotBeOpenedIsADeckError) {
  th::Log log(1, "node");
  EXPECT_THROW(log.open_file("/proc/no/such/folder/log.txt"), th::DeckError);
}

}  // namespace
