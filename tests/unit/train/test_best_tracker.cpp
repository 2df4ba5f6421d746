#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "th/train/best_tracker.hpp"

namespace th::train {
namespace {

using Names = std::vector<std::string>;

config::RunConfig deck(std::int64_t keep, std::int64_t patience, config::Metric metric) {
  config::RunConfig config;
  config.data.valid_source = "valid.en";
  config.checkpoint.keep_best = keep;
  config.valid.patience = patience;
  config.valid.metrics = {metric};
  return config;
}

TEST(BestTracker, DoesNothingWhereTheDeckAsksForNothing) {
  EXPECT_FALSE(BestTracker(deck(0, 0, config::Metric::kBleu)).active());
  config::RunConfig without_text = deck(1, 1, config::Metric::kBleu);
  without_text.data.valid_source = "";
  EXPECT_FALSE(BestTracker(without_text).active());
}

TEST(BestTracker, KeepsTheBestInOrderAndDropsThemOnceTheyAreNot) {
  BestTracker tracker(deck(2, 0, config::Metric::kBleu));
  EXPECT_TRUE(tracker.observe({.step = 1, .value = 10}).save);
  EXPECT_TRUE(tracker.observe({.step = 2, .value = 5, .scheduled = true}).save);
  EXPECT_EQ(tracker.kept(), (Names{"step_00000001", "step_00000002"}));
  // Equal values: the older one is before.
  const BestTracker::Verdict third = tracker.observe({.step = 3, .value = 10});
  EXPECT_TRUE(third.save);
  EXPECT_FALSE(third.better);
  EXPECT_TRUE(third.dropped.empty()) << "step 2 is saved for another reason too";
  const BestTracker::Verdict fourth = tracker.observe({.step = 4, .value = 11});
  EXPECT_TRUE(fourth.better);
  EXPECT_EQ(fourth.dropped, Names{"step_00000003"});
  EXPECT_EQ(tracker.kept(), (Names{"step_00000004", "step_00000001"}));
  EXPECT_FALSE(tracker.observe({.step = 5, .value = 10}).save);
  EXPECT_EQ(tracker.value_text("step_00000001"), "bleu 10.0000");
}

TEST(BestTracker, ALowerLossIsBetter) {
  BestTracker tracker(deck(1, 0, config::Metric::kLoss));
  (void)tracker.observe({.step = 1, .value = 2});
  EXPECT_FALSE(tracker.observe({.step = 2, .value = 3}).better);
  EXPECT_TRUE(tracker.observe({.step = 3, .value = 1}).better);
  EXPECT_EQ(tracker.kept(), Names{"step_00000003"});
}

TEST(BestTracker, AValidationWithoutAValueIsNoneThatIsBetter) {
  BestTracker tracker(deck(0, 2, config::Metric::kBleu));
  EXPECT_TRUE(tracker.observe({.step = 1, .value = 10}).better);
  tracker.pass();
  EXPECT_FALSE(tracker.out_of_patience());
  tracker.pass();
  EXPECT_TRUE(tracker.out_of_patience());
}

TEST(BestTracker, PatienceEndsAfterSoManyValidationsWithoutABetterOne) {
  BestTracker tracker(deck(0, 2, config::Metric::kBleu));
  for (const double value : {1.0, 1.0, 2.0, 2.0}) {
    EXPECT_FALSE(tracker.observe({.step = 1, .value = value}).save);
    EXPECT_FALSE(tracker.out_of_patience());
  }
  (void)tracker.observe({.step = 1, .value = 1.9});
  EXPECT_TRUE(tracker.out_of_patience());
  EXPECT_EQ(tracker.text(), "no better bleu for 2 validations (2.0000 at step 1)");
}

TEST(BestTracker, GoesOnFromACheckpoint) {
  BestTracker before(deck(2, 3, config::Metric::kChrf));
  (void)before.observe({.step = 1, .value = 3});
  (void)before.observe({.step = 2, .value = 1});
  RunState state;
  state.best = before.state();
  const RunState read = run_state_from_json(to_json(state));
  BestTracker after(deck(2, 3, config::Metric::kChrf));
  EXPECT_EQ(after.restore(read.best, deck(2, 3, config::Metric::kChrf)), "");
  EXPECT_EQ(after.kept(), before.kept());
  EXPECT_EQ(after.text(), before.text());
  EXPECT_EQ(after.observe({.step = 3, .value = 2}).dropped, Names{"step_00000002"});
  BestTracker fewer(deck(1, 3, config::Metric::kChrf));
  EXPECT_EQ(fewer.restore(read.best, deck(2, 3, config::Metric::kChrf)), "");
  EXPECT_EQ(fewer.kept(), Names{"step_00000001"});
}

/// The line of a resume by the deck `now` from a checkpoint of `then` with one best validation.
std::string resumed(const config::RunConfig& then, const config::RunConfig& now, bool kept) {
  BestTracker before(then), after(now);
  (void)before.observe({.step = 1, .value = 3});
  const std::string line = after.restore(before.state(), then);
  EXPECT_EQ(after.kept().empty(), !kept) << line;
  after.restore_end(before.state());
  EXPECT_EQ(after.end().has_value(), kept) << line;
  return line;
}

TEST(BestTracker, OfAnotherMetricBeginsAnew) {
  EXPECT_EQ(resumed(deck(1, 0, config::Metric::kChrf), deck(1, 0, config::Metric::kBleu), false),
            "The checkpoint's best validations can't be compared with this run's, which begins "
            "with none: valid.best_metric was chrf and is bleu.");
}

TEST(BestTracker, OfTheSameMetricComputedInAnotherWayBeginsAnew) {
  const config::RunConfig then = deck(1, 0, config::Metric::kBleu);
  config::RunConfig now = then;
  now.valid.max_lines = 7;
  now.valid.bleu_tokenizer = score::BleuTokenizer::kNone;
  EXPECT_EQ(resumed(then, now, false),
            "The checkpoint's best validations can't be compared with this run's, which begins "
            "with none: valid.bleu_tokenizer was 13a and is none, valid.max_lines was 0 and is 7.");
  now = then;
  now.decode.beam = 4;
  EXPECT_NE(resumed(then, now, false).find("decode.beam was 1 and is 4"), std::string::npos);
  config::RunConfig script = then, other = then;
  script.valid.script = "/a/score.sh";
  script.valid.best_metric = other.valid.best_metric = config::Metric::kScript;
  other.valid.script = "/b/score.sh";
  EXPECT_NE(resumed(script, other, false).find("valid.script was /a/score.sh and is /b/score.sh"),
            std::string::npos);
}

TEST(BestTracker, WhatTheMetricDoesNotDependOnChangesNothing) {
  const config::RunConfig bleu = deck(1, 0, config::Metric::kBleu);
  config::RunConfig now = bleu;
  now.valid.chrf_word_order = 2;
  now.valid.metrics.push_back(config::Metric::kChrf);
  now.valid.script = "/a/score.sh";
  now.valid.patience = 5;
  EXPECT_EQ(resumed(bleu, now, true), "");
  const config::RunConfig loss = deck(1, 0, config::Metric::kLoss);
  config::RunConfig searched = loss;
  searched.decode.beam = 4;
  searched.valid.max_lines = 7;
  EXPECT_EQ(resumed(loss, searched, true), "");
  searched.decode.parameters = config::DecodeParameters::kEma;
  EXPECT_NE(resumed(loss, searched, false), "");
}

TEST(BestTracker, OfAnotherTextBeginsAnew) {
  const config::RunConfig config = deck(1, 2, config::Metric::kBleu);
  BestTracker before(config);
  EXPECT_EQ(before.compare_text("1"), "");
  (void)before.observe({.step = 1, .value = 3});
  RunState state;
  state.best = before.state();
  const BestState read = run_state_from_json(to_json(state)).best;
  BestTracker same(config), other(config);
  (void)same.restore(read, config);
  EXPECT_EQ(same.compare_text("1"), "");
  EXPECT_EQ(same.kept(), Names{"step_00000001"});
  (void)other.restore(read, config);
  EXPECT_NE(other.compare_text("2").find("another text"), std::string::npos);
  EXPECT_TRUE(other.kept().empty());
  EXPECT_EQ(other.state().text, "2");
  EXPECT_TRUE(other.observe({.step = 2, .value = 1}).better);
  BestState unknown = read;  // of a checkpoint of before
  unknown.text.clear();
  BestTracker after(config);
  (void)after.restore(unknown, config);
  EXPECT_EQ(after.compare_text("2"), "");
  EXPECT_EQ(after.kept(), Names{"step_00000001"});
}

TEST(BestTracker, AValidationOfTheEndIsForgottenByARunThatGoesOn) {
  BestTracker tracker(deck(1, 2, config::Metric::kBleu));
  (void)tracker.observe({.step = 2, .value = 3});
  const BestTracker::Verdict end = tracker.observe({.step = 3, .value = 5, .in_turn = false});
  EXPECT_TRUE(end.save);
  EXPECT_TRUE(end.dropped.empty());
  EXPECT_EQ(tracker.kept(), (Names{"step_00000003", "step_00000002"}));
  RunState state;
  state.best = tracker.state();
  state.best_at_end = tracker.end();
  const RunState read = run_state_from_json(to_json(state));
  BestTracker longer(deck(1, 2, config::Metric::kBleu));
  (void)longer.restore(read.best, deck(1, 2, config::Metric::kBleu));
  EXPECT_EQ(longer.kept(), Names{"step_00000002"});
  longer.restore_end(read.best_at_end);
  EXPECT_EQ(longer.kept(), tracker.kept());
}

}  // namespace
}  // namespace th::train
