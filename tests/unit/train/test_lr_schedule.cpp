#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>

#include "th/train/lr_schedule.hpp"

namespace th::train {
namespace {

using config::ScheduleKind;

config::RunConfig config_of(ScheduleKind kind, std::int64_t warmup, double lr) {
  config::RunConfig c;
  c.schedule.name = kind;
  c.schedule.warmup_steps = warmup;
  c.optimizer.lr = lr;
  return c;
}

constexpr double kRelative = 1e-14;  // fp64, some roundings and one pow

void expect_rate(const config::RunConfig& c, std::int64_t total, std::int64_t step, double want) {
  EXPECT_NEAR(learning_rate(c, total, step), want, kRelative * std::abs(want) + 1e-300)
      << "step " << step;
}

TEST(LrSchedule, NoamIsTheFormulaOfTheTransformerPaper) {
  const config::RunConfig c = config_of(ScheduleKind::kNoam, 4000, 1.0);
  for (const std::int64_t step : {1, 2, 10, 3999, 4000, 4001, 16000, 100000}) {
    const double s = static_cast<double>(step);
    expect_rate(c, 0, step,
                std::pow(512.0, -0.5) * std::min(std::pow(s, -0.5), s * std::pow(4000.0, -1.5)));
  }
}

TEST(LrSchedule, NoamHasThePublishedPeak) {
  const config::RunConfig c = config_of(ScheduleKind::kNoam, 4000, 1.0);
  expect_rate(c, 0, 4000, 1.0 / std::sqrt(512.0 * 4000.0));  // 6.99e-4, the base model
  EXPECT_LT(learning_rate(c, 0, 3999), learning_rate(c, 0, 4000));
  EXPECT_LT(learning_rate(c, 0, 4001), learning_rate(c, 0, 4000));
}

TEST(LrSchedule, NoamScalesWithLrAndWidth) {
  config::RunConfig c = config_of(ScheduleKind::kNoam, 100, 2.0);
  c.model.d_model = 64;
  expect_rate(c, 0, 100, 2.0 / 8.0 / 10.0);
  expect_rate(c, 0, 400, 2.0 / 8.0 / 20.0);
  expect_rate(c, 0, 25, 2.0 / 8.0 * 25.0 / 1000.0);
}

TEST(LrSchedule, WarmupLinearRisesToLrAndFallsToZero) {
  const config::RunConfig c = config_of(ScheduleKind::kWarmupLinear, 10, 0.5);
  expect_rate(c, 110, 1, 0.05);
  expect_rate(c, 110, 9, 0.45);
  expect_rate(c, 110, 10, 0.5);
  expect_rate(c, 110, 60, 0.25);
  expect_rate(c, 110, 109, 0.005);
  EXPECT_EQ(learning_rate(c, 110, 110), 0.0);
}

TEST(LrSchedule, CosineRisesToLrAndFallsToZeroOverHalfAWave) {
  const config::RunConfig c = config_of(ScheduleKind::kCosine, 10, 0.5);
  expect_rate(c, 110, 5, 0.25);
  expect_rate(c, 110, 10, 0.5);
  // A quarter of the way.
  EXPECT_NEAR(learning_rate(c, 110, 35), 0.25 * (1 + std::sqrt(0.5)), 1e-15);
  EXPECT_NEAR(learning_rate(c, 110, 60), 0.25, 1e-15);
  EXPECT_NEAR(learning_rate(c, 110, 85), 0.25 * (1 - std::sqrt(0.5)), 1e-15);
  EXPECT_EQ(learning_rate(c, 110, 110), 0.0);
}

TEST(LrSchedule, BeyondTheTotalItStaysAtZero) {
  for (const auto kind : {ScheduleKind::kWarmupLinear, ScheduleKind::kCosine}) {
    EXPECT_EQ(learning_rate(config_of(kind, 10, 0.5), 110, 111), 0.0);
    EXPECT_EQ(learning_rate(config_of(kind, 10, 0.5), 110, 100000), 0.0);
  }
}

TEST(LrSchedule, ConstantIsLrAtEveryStep) {
  const config::RunConfig c = config_of(ScheduleKind::kConstant, 1000, 3e-4);
  for (const std::int64_t step : {1, 999, 1000, 1000000})
    EXPECT_EQ(learning_rate(c, 50, step), 3e-4);
}

TEST(LrSchedule, InverseSqrtRisesToLrAndFallsWithTheRoot) {
  const config::RunConfig c = config_of(ScheduleKind::kInverseSqrt, 100, 0.5);
  expect_rate(c, 0, 1, 0.005);
  expect_rate(c, 0, 100, 0.5);
  expect_rate(c, 0, 400, 0.25);
  expect_rate(c, 0, 10000, 0.05);
}

TEST(LrSchedule, InverseSqrtIsNoamUpToAFactor) {
  config::RunConfig noam = config_of(ScheduleKind::kNoam, 100, 1.0);
  noam.model.d_model = 64;
  const config::RunConfig inverse =
      config_of(ScheduleKind::kInverseSqrt, 100, 1.0 / std::sqrt(64.0 * 100.0));
  for (const std::int64_t step : {1, 50, 100, 101, 5000})
    expect_rate(inverse, 0, step, learning_rate(noam, 0, step));
}

TEST(LrSchedule, WithoutWarmupTheFirstStepHasTheFullRate) {
  expect_rate(config_of(ScheduleKind::kWarmupLinear, 0, 0.5), 101, 1, 0.5);
  expect_rate(config_of(ScheduleKind::kCosine, 0, 0.5), 101, 1, 0.5);
  expect_rate(config_of(ScheduleKind::kInverseSqrt, 0, 0.5), 0, 1, 0.5);
  expect_rate(config_of(ScheduleKind::kNoam, 0, 0.5), 0, 1, 0.5 / std::sqrt(512.0));
}

TEST(LrSchedule, AWarmupLongerThanTheRunStaysFiniteAndRises) {
  for (const auto kind : {ScheduleKind::kWarmupLinear, ScheduleKind::kCosine}) {
    const config::RunConfig c = config_of(kind, 100, 0.5);
    double before = 0;
    for (std::int64_t step = 1; step <= 50; ++step) {
      const double rate = learning_rate(c, 50, step);
      EXPECT_NEAR(rate, 0.005 * static_cast<double>(step), 1e-15);
      EXPECT_GT(rate, before);
      before = rate;
    }
  }
}

/// DeepSpeed 0.14, runtime/lr_schedules.py, class WarmupLR: get_lr() at last_batch_iteration = i.
double deepspeed_warmup_lr(double low, double high, int warmup, bool log, int i) {
  const int steps = std::max(2, warmup);
  double gamma = 1.0;
  if (i < steps && log) gamma = 1.0 / std::log(steps) * std::log(i + 1);
  if (i < steps && !log) gamma = static_cast<double>(i) / steps;
  return low + (high - low) * gamma;
}

TEST(LrSchedule, WarmupConstantIsDeepSpeedsWarmupLr) {
  for (const bool log : {false, true}) {
    for (const int warmup : {0, 1, 2, 3, 1000}) {
      config::RunConfig c = config_of(ScheduleKind::kWarmupConstant, warmup, 1e-3);
      c.schedule.warmup_shape = log ? config::WarmupShape::kLog : config::WarmupShape::kLinear;
      for (const double low : {0.0, 1e-5}) {
        c.schedule.min_lr = low;
        for (const int step : {1, 2, 3, 4, 10, 500, 1000, 1001, 1002, 50000})
          expect_rate(c, 0, step, deepspeed_warmup_lr(low, 1e-3, warmup, log, step - 1));
      }
    }
  }
}

TEST(LrSchedule, LogWarmupHasTheValuesOfItsFormula) {
  config::RunConfig c = config_of(ScheduleKind::kWarmupConstant, 1024, 1.0);
  c.schedule.warmup_shape = config::WarmupShape::kLog;
  expect_rate(c, 0, 1, 0.0);
  expect_rate(c, 0, 2, 0.1);  // log 2 / log 1024
  expect_rate(c, 0, 32, 0.5);
  expect_rate(c, 0, 1024, 1.0);
  expect_rate(c, 0, 2048, 1.0);
}

TEST(LrSchedule, WsdRisesStaysAndFalls) {
  config::RunConfig c = config_of(ScheduleKind::kWsd, 10, 0.5);
  c.schedule.decay_steps = 40;
  expect_rate(c, 100, 5, 0.25);
  for (const std::int64_t step : {10, 35, 60}) expect_rate(c, 100, step, 0.5);
  expect_rate(c, 100, 70, 0.375);
  expect_rate(c, 100, 80, 0.25);
  for (const std::int64_t step : {100, 101, 1000}) EXPECT_EQ(learning_rate(c, 100, step), 0.0);
  c.schedule.min_ratio = 0.2;
  expect_rate(c, 100, 5, 0.25);
  expect_rate(c, 100, 80, 0.3);
  expect_rate(c, 100, 100, 0.1);
  expect_rate(c, 100, 1000, 0.1);
  c.schedule.decay_steps = 0;  // a tenth of all
  expect_rate(c, 100, 90, 0.5);
  expect_rate(c, 100, 95, 0.3);
  expect_rate(c, 100, 100, 0.1);
}

TEST(LrSchedule, TheLeastRateIsAPartOfTheHighest) {
  for (const auto kind : {ScheduleKind::kCosine, ScheduleKind::kWarmupLinear}) {
    config::RunConfig c = config_of(kind, 10, 0.5);
    c.schedule.min_ratio = 0.1;
    expect_rate(c, 110, 5, 0.25);  // the warm-up is what it was
    expect_rate(c, 110, 10, 0.5);
    expect_rate(c, 110, 60, 0.5 * (0.1 + 0.9 * 0.5));
    expect_rate(c, 110, 110, 0.05);
    expect_rate(c, 110, 500, 0.05);
  }
  config::RunConfig c = config_of(ScheduleKind::kInverseSqrt, 100, 0.5);
  c.schedule.min_ratio = 0.25;
  expect_rate(c, 0, 1, 0.005);
  expect_rate(c, 0, 400, 0.25);
  expect_rate(c, 0, 1600, 0.125);
  expect_rate(c, 0, 100000, 0.125);
  c = config_of(ScheduleKind::kNoam, 100, 1.0);
  c.model.d_model = 64;
  c.schedule.min_ratio = 0.25;
  expect_rate(c, 0, 1, 1.0 / 8.0 / 1000.0);
  expect_rate(c, 0, 400, 1.0 / 8.0 / 20.0);
  expect_rate(c, 0, 100000, 1.0 / 8.0 / 40.0);
}

TEST(LrSchedule, EveryScheduleIsFiniteAndNotNegativeAtItsBorders) {
  for (const auto kind : {ScheduleKind::kNoam, ScheduleKind::kWarmupLinear, ScheduleKind::kCosine,
                          ScheduleKind::kConstant, ScheduleKind::kInverseSqrt,
                          ScheduleKind::kWarmupConstant, ScheduleKind::kWsd}) {
    for (const std::int64_t warmup : {0, 1, 2, 7}) {
      for (const std::int64_t total : {0, 1, 2, 7, 8}) {
        for (const std::int64_t step : {1, 2, 6, 7, 8, 9}) {
          const double rate = learning_rate(config_of(kind, warmup, 1.0), total, step);
          EXPECT_TRUE(std::isfinite(rate) && rate >= 0 && rate <= 1)
              << "kind " << static_cast<int>(kind) << " warmup " << warmup << " total " << total;
        }
      }
    }
  }
}

}  // namespace
}  // namespace th::train
