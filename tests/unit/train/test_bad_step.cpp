#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "th/base/error.hpp"
#include "th/train/replay/bad_step.hpp"

namespace th::train {
namespace {

data::Batch batch_of(std::int64_t first) {
  data::Batch batch;
  batch.source = {first, first + 1, 3};
  batch.target_in = {2, first};
  batch.target_out = {first, 3};
  batch.source_lengths = {1, 2};
  batch.target_lengths = {1, 1};
  return batch;
}

class BadSteps : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(testing::TempDir()) /
            (std::string("th_bad_step_") +
             testing::UnitTest::GetInstance()->current_test_info()->name() + ".json");
  }
  void TearDown() override { std::filesystem::remove(path_); }
  [[nodiscard]] std::string text() const {
    BadStep bad;
    bad.step = 12;
    bad.optimizer_step = 11;
    bad.loss = std::numeric_limits<double>::quiet_NaN();
    bad.grad_norm = 0.1;
    bad.loss_scale = 1024;
    bad.source_per_target = 1.25;
    bad.not_finite = "encoder.norm.weight";
    bad.deck = "[model]\nd_model = 64\n";
    bad.checkpoint = "bad/step_00000011";
    std::vector<std::string> slots = slots_of(slots_json({batch_of(4), batch_of(7)}));
    slots.push_back(slots_of(slots_json({batch_of(9)})).front());
    return bad_step_json(bad, slots);
  }
  [[nodiscard]] BadStep read(const std::string& content) const {
    std::ofstream(path_, std::ios::binary) << content;
    return read_bad_step(path_.string());
  }
  std::filesystem::path path_;
};

TEST_F(BadSteps, ReadBackAsTheyWereWritten) {
  const BadStep bad = read(text());
  EXPECT_EQ(bad.step, 12);
  EXPECT_EQ(bad.optimizer_step, 11);
  EXPECT_TRUE(std::isnan(bad.loss));
  EXPECT_EQ(bad.grad_norm, 0.1);
  EXPECT_EQ(bad.loss_scale, 1024);
  EXPECT_EQ(bad.source_per_target, 1.25);
  EXPECT_EQ(bad.not_finite, "encoder.norm.weight");
  EXPECT_EQ(bad.deck, "[model]\nd_model = 64\n");
  EXPECT_EQ(bad.checkpoint, "bad/step_00000011");
  ASSERT_EQ(bad.slots.size(), 3U);
  for (const auto& [slot, first] : {std::pair(0, 4), std::pair(1, 7), std::pair(2, 9)}) {
    const data::Batch& batch = bad.slots[static_cast<std::size_t>(slot)];
    const data::Batch wanted = batch_of(first);
    EXPECT_EQ(batch.source, wanted.source);
    EXPECT_EQ(batch.target_in, wanted.target_in);
    EXPECT_EQ(batch.target_out, wanted.target_out);
    EXPECT_EQ(batch.sentences, 2);
    EXPECT_EQ(batch.source_tokens, 3);
    EXPECT_EQ(batch.target_tokens, 2);
    EXPECT_EQ(batch.source_length, 2);
    EXPECT_EQ(batch.target_length, 1);
  }
}

TEST_F(BadSteps, WhatIsNoneIsADataError) {
  const std::string good = text();
  EXPECT_THROW((void)read_bad_step("/no/such/file"), DataError);
  for (std::size_t length = 0; length + 2 < good.size(); length += 7)
    EXPECT_THROW((void)read(good.substr(0, length)), DataError) << length;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = good;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  for (const std::string& changed :
       {with("\"source\":[4,", "\"source\":[4,4,"),
        with("\"source_lengths\":[1,", "\"source_lengths\":[0,1,"),
        with("\"step\":12", "\"step\":0"), with("\"format\":1", "\"format\":2"),
        with("\"target_in\":[2,4]", "\"target_in\":\"x\""),
        with("\"target_lengths\":[1,", "\"target_lengths\":[-1,")})
    EXPECT_THROW((void)read(changed), DataError) << changed;
}

}  // namespace
}  // namespace th::train
