#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <utility>

#include "th/base/error.hpp"
#include "th/config/schedule_end.hpp"
#include "th/data/loader.hpp"
#include "th/train/training_data.hpp"

namespace th::train {
namespace {

TEST(ScheduleSteps, AreThoseOfAllEpochsAndNeverOverflow) {
  config::RunConfig config;
  config.data.vocab_size = 10;
  const data::SyntheticSource source(config.data, {2, 1}, 1, 7, 0);
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

TEST(ScheduleSteps, TooFewForTheScheduleAreAnErrorOfTheDeck) {
  config::RunConfig config;
  config.schedule.name = config::ScheduleKind::kCosine;
  config.schedule.warmup_steps = 10;
  EXPECT_THROW(require_schedule_fits(config, 10), DeckError);
  EXPECT_NO_THROW(require_schedule_fits(config, 11));
  EXPECT_NO_THROW(require_schedule_fits(config, 0)) << "a schedule without an end";
  config.schedule.name = config::ScheduleKind::kWsd;
  config.schedule.decay_steps = 6;
  EXPECT_THROW(require_schedule_fits(config, 15), DeckError);
  EXPECT_NO_THROW(require_schedule_fits(config, 16));
}

TEST(ScheduleSteps, AreUnknownWithoutTheDataWhereTheEpochsEndTheSchedule) {
  config::RunConfig config;
  config.train.max_steps = 5;
  for (const auto& [name, ends] : {std::pair(config::ScheduleKind::kNoam, false),
                                   std::pair(config::ScheduleKind::kWarmupConstant, false),
                                   std::pair(config::ScheduleKind::kCosine, true),
                                   std::pair(config::ScheduleKind::kWsd, true)}) {
    config.schedule.name = name;
    EXPECT_EQ(ends_with_the_epochs(config), ends);
    config.schedule.total_steps = 50;
    EXPECT_FALSE(ends_with_the_epochs(config));
    config.schedule.total_steps = 0;
  }
}

TEST(SyntheticData, IsTheSameWhateverTheNumberOfSteps) {
  config::RunConfig config;
  config.data.synthetic = config::Synthetic::kRandomIds;
  config.data.vocab_size = 1000;
  config.data.batch_size = 2;
  config.data.synthetic_length = 8;
  const auto ids = [&](std::int64_t max_steps, std::int64_t step) {
    config.train.max_steps = max_steps;
    const TrainingData data = open_training_data(config, 2, 1);
    EXPECT_GT(data.source->steps(0), 1'000'000'000) << "it has one epoch without an end";
    return data.source->make(0, step).rounds.front().source;
  };
  for (const std::int64_t step : {0, 999, 1000, 1500})
    EXPECT_EQ(ids(5, step), ids(1200, step)) << step;
  EXPECT_NE(ids(5, 0), ids(5, 1));
}

}  // namespace
}  // namespace th::train
