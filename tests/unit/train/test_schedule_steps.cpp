#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "th/data/loader.hpp"
#include "th/train/training_data.hpp"

namespace th::train {
namespace {

TEST(ScheduleSteps, AreThoseOfAllEpochsAndNeverOverflow) {
  config::RunConfig config;
  config.data.vocab_size = 10;
  const data::SyntheticSource source(config.data, 2, 1, 7, 0, 1);
  config.train.epochs = 3;
  config.schedule.name = config::ScheduleKind::kNoam;
  EXPECT_EQ(schedule_steps(config, source), 0) << "it has no end";
  for (const config::ScheduleKind name :
       {config::ScheduleKind::kCosine, config::ScheduleKind::kWarmupLinear,
        config::ScheduleKind::kWsd}) {
    config.schedule.name = name;
    for (const std::int64_t tokens : {0, 100}) {
      config.data.batch_tokens = tokens;
      config.train.epochs = 3;
      EXPECT_EQ(schedule_steps(config, source), 21);
      config.train.epochs = 1'000'000'000;
      EXPECT_EQ(schedule_steps(config, source), 7'000'000'000);
      config.train.epochs = std::numeric_limits<std::int64_t>::max() / 2 + 1;
      EXPECT_EQ(schedule_steps(config, source), std::numeric_limits<std::int64_t>::max());
    }
    config.schedule.total_steps = 50;
    EXPECT_EQ(schedule_steps(config, source), 50);
    config.schedule.total_steps = 0;
  }
}

}  // namespace
}  // namespace th::train
