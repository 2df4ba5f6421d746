#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "th/monitor/gathered_warnings.hpp"
#include "th/monitor/progress_text.hpp"

namespace th::monitor {
namespace {

TEST(ProgressText, TimesHaveTheUnitThatReadsBest) {
  for (const auto& [seconds, text] :
       {std::pair(-1.0, "0 s"), std::pair(59.4, "59 s"), std::pair(59.6, "1:00 min"),
        std::pair(725.0, "12:05 min"), std::pair(5025.0, "1:23:45 h"),
        std::pair(273'700.0, "3 d 4 h")})
    EXPECT_EQ(time_text(seconds), text);
}

Standing middle() {
  return {.step = 120,
          .epoch = 1,
          .step_in_epoch = 20,
          .steps_in_epoch = 100,
          .last_step = 400,
          .loss = 3.12345,
          .tokens_per_second = 5678,
          .memory_bytes = 512LL << 20,
          .seconds_left = 725};
}

TEST(ProgressText, LineHasLossRateMemoryAndTimeLeft) {
  EXPECT_EQ(progress_line(middle()),
            "Step 120 (epoch 1, 20/100): loss 3.1235, 5678 tokens/s, 512.00 MiB, 12:05 min left");
  Standing endless = middle();
  endless.steps_in_epoch = endless.last_step = 0;
  endless.seconds_left.reset();
  EXPECT_EQ(progress_line(endless),
            "Step 120 (epoch 1, 20): loss 3.1235, 5678 tokens/s, 512.00 MiB");
}

TEST(ProgressText, BarIsOfTheRunOrElseOfTheEpoch) {
  Standing s = middle();
  EXPECT_EQ(progress_bar(s).substr(0, 45), "[####------------] 30 % epoch 1, step 20/100,");
  s.last_step = 0;
  EXPECT_EQ(progress_bar(s).substr(0, 23), "[###-------------] 20 %");
  s.step_in_epoch = 100;
  EXPECT_EQ(progress_bar(s).substr(0, 24), "[################] 100 %");
  s.steps_in_epoch = 0;
  EXPECT_EQ(progress_bar(s).substr(0, 8), "epoch 1,");
}

TEST(LinePace, GivesALineEachSoManySteps) {
  LinePace pace(3);
  std::string due;
  for (std::int64_t step = 1; step <= 7; ++step) due += pace.due(step, 0, 1) ? 'x' : '.';
  EXPECT_EQ(due, "..x..x.");
}

TEST(LinePace, GivesALineAtLeastOnceAMinute) {
  for (const double step_seconds : {0.01, 1.0, 7.0, 29.0}) {
    LinePace pace(0);
    double now = 0, last = 0;
    std::int64_t lines = 0;
    for (std::int64_t step = 1; now < 3600; ++step, now += step_seconds) {
      if (!pace.due(step, now, step_seconds)) continue;
      EXPECT_LE(now - last, 60) << step_seconds;
      EXPECT_GE(now - last, 30) << step_seconds;
      last = now;
      ++lines;
    }
    EXPECT_GE(lines, 59) << step_seconds;
  }
  LinePace slow(0);
  EXPECT_TRUE(slow.due(1, 0, 100)) << "the next step ends in more than a minute";
  LinePace told(0);
  EXPECT_FALSE(told.due(1, 0, 1));
  told.told(50);
  EXPECT_FALSE(told.due(2, 100, 1));
  EXPECT_TRUE(told.due(3, 109.5, 1));
}

TEST(GatheredWarnings, AreALineForEachTextWithItsRanksAndTheirNumber) {
  const std::vector<std::string> hosts{"n1", "n1", "n2", "n2"};
  const std::vector<std::vector<std::string>> texts{{}, {"x"}, {"x", "y", "x"}, {"y", "x"}};
  EXPECT_EQ(gathered_warnings(texts, hosts),
            (std::vector<std::string>{"[3 ranks, the first is rank 1 on n1, 4 times] x",
                                      "[2 ranks, the first is rank 2 on n2] y"}));
  EXPECT_EQ(gathered_warnings(std::vector<std::vector<std::string>>{{}, {"z"}}, hosts),
            std::vector<std::string>{"[rank 1 on n1] z"});
}

}  // namespace
}  // namespace th::monitor
