// A rank that has nothing to decode opens and closes what the others do.
#include <gtest/gtest.h>

#include "th/model/decoding/decoding.hpp"
#include "th/model/decoding/idle_decoding.hpp"
#include "unit/model/small_model.hpp"

namespace th::model {
namespace {

using test::RecordingSource;

class IdleDecodings : public testing::TestWithParam<config::Tying> {
 protected:
  IdleDecodings() : model_(test::make_model(section())) {}
  static config::ModelSection section() {
    config::ModelSection m = test::small_section();
    m.tie_embeddings = GetParam();
    return m;
  }
  Transformer model_;
};

TEST_P(IdleDecodings, GatherAndReleaseTheUnitsOfASearchInItsOrder) {
  RecordingSource busy(model_), idle(model_), early(model_);
  const data::Batch batch = test::usual_batch();
  SearchOptions options;
  options.beam = 3;
  options.max_length = 12;
  std::int64_t steps = 0;
  {
    BatchSearch search(model_, busy, batch, options);
    IdleDecoding nothing(model_, idle), half(model_, early);
    EXPECT_EQ(idle.collective_calls, busy.collective_calls);
    for (; !search.done(); ++steps) {
      search.step();
      IdleDecoding::step(model_, idle);
      IdleDecoding::step(model_, early);
      ASSERT_EQ(idle.collective_calls, busy.collective_calls) << "step " << steps;
    }
    // Another batch is not done: what is held stays, and steps go on.
    IdleDecoding::step(model_, busy);
    IdleDecoding::step(model_, idle);
    EXPECT_EQ(idle.collective_calls, busy.collective_calls);
  }
  EXPECT_GT(steps, 1);
  EXPECT_EQ(idle.collective_calls, busy.collective_calls);
  EXPECT_TRUE(busy.all_closed());
  EXPECT_TRUE(idle.all_closed());
  EXPECT_EQ(idle.most_open, busy.most_open);
  EXPECT_EQ(idle.most_open, GetParam() == config::Tying::kNone ? 1 : 2);
}

INSTANTIATE_TEST_SUITE_P(Tied, IdleDecodings,
                         testing::Values(config::Tying::kNone, config::Tying::kDecoder,
                                         config::Tying::kEmbeddings, config::Tying::kAll));

}  // namespace
}  // namespace th::model
