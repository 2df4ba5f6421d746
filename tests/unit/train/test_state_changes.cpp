#include "train/state_changes.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace th::train {
namespace {

using Sentences = std::vector<std::string>;

io::CheckpointInfo with_states(const std::vector<std::string>& names,
                               const std::vector<std::string>& short_ones = {}) {
  io::CheckpointInfo info;
  info.state_names = names;
  info.short_states = short_ones;
  return info;
}

TEST(StateChanges, OfTheMovingAverage) {
  config::RunConfig without, with;
  with.train.ema_decay = 0.9;
  const io::CheckpointInfo plain = with_states({"exp_avg", "exp_avg_sq"}),
                           averaged = with_states({"exp_avg", "exp_avg_sq", "ema"});
  EXPECT_EQ(state_changes(plain, without, 0), Sentences());
  EXPECT_EQ(state_changes(averaged, with, 0), Sentences());
  EXPECT_EQ(state_changes(averaged, without, 0),
            Sentences{"The checkpoint's moving average (ema/) is dropped, since train.ema_decay is "
                      "0."});
  EXPECT_EQ(state_changes(plain, with, 0),
            Sentences{"The moving average begins with the parameters as they are: the checkpoint "
                      "has none."});
}

TEST(StateChanges, OfTheStatesTypeAreToldWhereThereAreStates) {
  config::RunConfig exact, rounded;
  rounded.optimizer.state_dtype = ElementType::kBf16;
  const io::CheckpointInfo fp32 = with_states({"momentum_buffer"}),
                           bf16 = with_states({"momentum_buffer"}, {"momentum_buffer"}),
                           none = with_states({});
  EXPECT_EQ(state_changes(fp32, exact, 0), Sentences());
  EXPECT_EQ(state_changes(bf16, rounded, 0), Sentences());
  EXPECT_EQ(state_changes(none, rounded, 0), Sentences());
  EXPECT_EQ(state_changes(fp32, rounded, 0),
            Sentences{"The optimizer's states are rounded from the checkpoint's fp32 to bf16, "
                      "once."});
  EXPECT_EQ(state_changes(bf16, exact, 0),
            Sentences{"The optimizer's states go on in fp32, from the checkpoint's bf16 values as "
                      "they are."});
}

TEST(StateChanges, OfTheLossScale) {
  config::RunConfig config;
  EXPECT_EQ(state_changes(with_states({}), config, 1024), Sentences());
  config.precision.dtype = ElementType::kFp16;
  EXPECT_EQ(state_changes(with_states({}), config, 1024), Sentences());
  EXPECT_EQ(state_changes(with_states({}), config, 0),
            Sentences{"The loss scale begins at precision.loss_scale: the checkpoint has none."});
}

}  // namespace
}  // namespace th::train
