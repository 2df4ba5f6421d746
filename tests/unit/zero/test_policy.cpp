#include <gtest/gtest.h>

#include "th/base/error.hpp"
#include "th/zero/engine_buffers.hpp"

namespace th::zero {
namespace {

// Rajbhandari et al. 2020, section 5: stage 1 partitions the optimizer state, stage 2 also the
// gradients, stage 3 also the parameters.
TEST(ZeroPolicy, EachStageShardsOneThingMore) {
  const bool expected[4][3] = {
      {false, false, false}, {true, false, false}, {true, true, false}, {true, true, true}};
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    const ZeroPolicy policy = zero_policy(stage);
    EXPECT_EQ(policy.shard_optimizer, expected[stage][0]) << "stage " << stage;
    EXPECT_EQ(policy.shard_gradients, expected[stage][1]) << "stage " << stage;
    EXPECT_EQ(policy.shard_parameters, expected[stage][2]) << "stage " << stage;
  }
}

TEST(ZeroPolicy, RefusesStagesThatDoNotExist) {
  EXPECT_THROW((void)zero_policy(-1), InternalError);
  EXPECT_THROW((void)zero_policy(4), InternalError);
}

}  // namespace
}  // namespace th::zero
