#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "app/report/files/deck_file.hpp"
#include "app/report/files/metrics_file.hpp"
#include "app/report/files/run_log.hpp"
#include "app/report/parts/line_stream.hpp"
#include "app/report/parts/record.hpp"
#include "th/base/error.hpp"
#include "unit/io/temporary_folder.hpp"

namespace {

using namespace th::app;

class Readers : public TemporaryFolder {
 protected:
  std::string file(const std::string& text) {
    put(dir_ + "/file", text);
    return dir_ + "/file";
  }
  MetricsFile metrics(const std::string& text) { return read_metrics(file(text)); }
};

std::string step_line(int step, const std::string& loss, double seconds = 0.5) {
  std::ostringstream line;
  line << R"({"kind":"step","step":)" << step << R"(,"epoch":0,"loss":)" << loss
       << R"(,"grad_norm":1.5,"lr":1e-05,"source_tokens":60,"target_tokens":40,"seconds":)"
       << seconds << "}\n";
  return line.str();
}

TEST(Record, PlainAndNestedLinesGiveTheSameMembers) {
  for (const std::string line :
       {R"({"kind":"step","step":12,"loss":9.25e-1,"x":null,"skipped":true})",
        R"({ "kind": "step", "step": 12, "loss": 9.25e-1, "x": null, "skipped": true, "y": []})"}) {
    Record record;
    ASSERT_TRUE(record.parse(line));
    EXPECT_EQ(record.text("kind"), "step");
    EXPECT_EQ(record.number("step"), 12);
    EXPECT_EQ(record.number("loss"), 0.925);
    EXPECT_TRUE(record.has("x"));
    EXPECT_FALSE(record.number("x").has_value());
    EXPECT_EQ(record.text("skipped"), "true");
    EXPECT_FALSE(record.has("z"));
  }
}

TEST(Record, EscapesAreRead) {
  Record record;
  ASSERT_TRUE(record.parse(R"({"reason":"a \"b\", {c}","n":1})"));
  EXPECT_EQ(record.text("reason"), "a \"b\", {c}");
}

TEST(Record, WhatIsNoObjectIsRefused) {
  Record record;
  for (const char* line : {"", "{", "{}x", "[1]", "{\"a\":", "{\"a\":1", "{\"a\"}", "\"a\":1}"})
    EXPECT_FALSE(record.parse(line)) << line;
  EXPECT_FALSE(record.parse(std::string_view("\0\0\0", 3)));
}

TEST_F(Readers, LinesLongerThanABlockAreWhole) {
  const std::string longest(3'000'000, 'x');
  LineStream lines(file("a\n" + longest + "\n\nend"));
  std::string_view line;
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "a");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, longest);
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "");
  EXPECT_FALSE(lines.torn());
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "end");
  EXPECT_TRUE(lines.torn());
  EXPECT_EQ(lines.number(), 4);
  EXPECT_FALSE(lines.next(line));
}

TEST_F(Readers, ALineWithoutEndIsGivenInPart) {
  LineStream lines(file(std::string(LineStream::kLongest + 5'000'000, '\0') + "\nnext\n"));
  std::string_view line;
  ASSERT_TRUE(lines.next(line));
  EXPECT_GE(line.size(), LineStream::kLongest);
  EXPECT_LT(line.size(), LineStream::kLongest + 1'000'000);
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "next");
  EXPECT_FALSE(lines.next(line));
}

TEST_F(Readers, MetricsOfARun) {
  const MetricsFile seen = metrics(
      step_line(1, "9") + step_line(2, "8") +
      R"({"kind":"epoch","epoch":0,"train_loss":8.5,"valid_loss":7.5,"seconds":3.0})"
      "\n"
      R"({"kind":"eval","set":"valid","step":2,"metric":"bleu","value":1.25,"signature":"s"})"
      "\n"
      R"({"kind":"eval","set":"valid","step":2,"metric":"valid_loss","value":7.0})"
      "\n"
      R"({"kind":"eval","set":"test","step":2,"metric":"bleu","value":2.5,"signature":"t"})"
      "\n"
      R"({"kind":"summary","steps":2,"tokens_per_second":200.0,"planned_bytes":[10,20],)"
      R"("measured_bytes":[11,21],"run":"id","exit":"completed","reason":"patience"})"
      "\n");
  EXPECT_EQ(seen.steps, 2);
  EXPECT_EQ(seen.last_step, 2);
  EXPECT_EQ(seen.epochs, 1);
  EXPECT_EQ(seen.loss.count(), 2);
  EXPECT_EQ(seen.loss.last().y, 8);
  EXPECT_EQ(seen.rate.last().y, 200);
  EXPECT_EQ(seen.valid_loss.count(), 2);
  EXPECT_EQ(seen.valid_loss.highest().y, 7.5);
  EXPECT_EQ(seen.valid_scores.at("bleu").last().y, 1.25);
  EXPECT_EQ(seen.signatures.at("bleu"), "s");
  ASSERT_EQ(seen.test_scores.size(), 1U);
  EXPECT_EQ(seen.test_scores[0].value, 2.5);
  EXPECT_DOUBLE_EQ(seen.step_seconds, 1);
  EXPECT_DOUBLE_EQ(seen.epoch_end_seconds, 2);
  ASSERT_TRUE(seen.summary.has_value());
  EXPECT_EQ(seen.summary->planned_bytes, (std::vector<std::int64_t>{10, 20}));
  EXPECT_EQ(seen.summary->exit, "completed");
  EXPECT_EQ(seen.summary->reason, "patience");
  EXPECT_EQ(seen.damaged, 0);
  EXPECT_FALSE(seen.torn);
}

TEST_F(Readers, ARunThatWentOnAfterItsSummaryHasNoneYet) {
  const std::string summary = "{\"kind\":\"summary\",\"steps\":1,\"exit\":\"stopped\"}\n";
  EXPECT_TRUE(metrics(step_line(1, "9") + summary).summary.has_value());
  EXPECT_FALSE(metrics(step_line(1, "9") + summary + step_line(2, "8")).summary.has_value());
}

TEST_F(Readers, ATornLastLineIsLeftOutAndNoDamage) {
  const std::string whole = step_line(1, "9") + step_line(2, "8");
  for (std::size_t cut = 1; cut < step_line(2, "8").size(); ++cut) {
    const MetricsFile seen = metrics(whole.substr(0, whole.size() - cut));
    EXPECT_TRUE(seen.torn);
    EXPECT_EQ(seen.damaged, 0);
    // Without the newline alone the record is whole.
    EXPECT_EQ(seen.steps, cut == 1 ? 2 : 1) << cut;
  }
}

TEST_F(Readers, DamagedLinesAreCounted) {
  const MetricsFile seen =
      metrics(step_line(1, "9") + std::string(100, '\0') + "\nnonsense\n" + step_line(2, "8"));
  EXPECT_EQ(seen.damaged, 2);
  EXPECT_EQ(seen.first_damaged, 2);
  EXPECT_EQ(seen.steps, 2);
}

TEST_F(Readers, StepsThatAreNotFiniteAreCountedAndNotDrawn) {
  const MetricsFile seen = metrics(
      step_line(1, "9") +
      R"({"kind":"step","step":2,"loss":null,"grad_norm":null,"seconds":1,"skipped":true})" + "\n");
  EXPECT_EQ(seen.skipped, 1);
  EXPECT_EQ(seen.loss.count(), 1);
  EXPECT_EQ(seen.steps, 2);
}

TEST_F(Readers, EvalsOfAnOldProgramAreToldApartByTheirMetric) {
  const MetricsFile seen = metrics(step_line(4, "9") +
                                   "{\"kind\":\"eval\",\"metric\":\"valid_loss\",\"value\":3}\n"
                                   "{\"kind\":\"eval\",\"metric\":\"bleu\",\"value\":5}\n");
  EXPECT_EQ(seen.valid_loss.last().x, 4);
  ASSERT_EQ(seen.test_scores.size(), 1U);
  EXPECT_EQ(seen.test_scores[0].metric, "bleu");
}

TEST_F(Readers, AFileThatIsNotThereIsAnError) {
  EXPECT_THROW((void)read_metrics(dir_ + "/absent"), th::DataError);
  EXPECT_THROW((void)read_metrics(dir_), th::DataError);
}

TEST_F(Readers, LogOfARun) {
  const RunLog log = read_run_log(
      file("2026-11-30 02:32:43 Identity: isa=avx2 device=cpu\n"
           "2026-11-30 02:32:44 warning: an old one\n"
           "2026-11-30 02:32:45 Memory of a rank: planned 20.00 MiB, measured 21.00 MiB (+5.0 %): "
           "parameters 8.00 MiB / 8.00 MiB (+0.0 %), gather slots 12.00 MiB / 12.94 MiB (+7.8 %), "
           "untagged 0 B / 64.00 KiB\n"
           "2026-11-30 02:33:00 Sample 1 source:     ein <Haus>\n"
           "2026-11-30 02:33:00 Sample 1 reference:  a: house\n"
           "2026-11-30 02:33:00 Sample 1 hypothesis: a\n"
           "2026-11-30 02:33:00 Sample 2 source:     b\n"
           "2026-11-30 02:33:00 Sample 2 reference:  b\n"
           "2026-11-30 02:33:00 Sample 2 hypothesis: \n"
           "2026-11-30 02:34:00 error: the disk is full\n"));
  EXPECT_EQ(log.begin, "2026-11-30 02:32:43");
  EXPECT_EQ(log.end, "2026-11-30 02:34:00");
  EXPECT_EQ(log.identity, "isa=avx2 device=cpu");
  EXPECT_EQ(log.error, "error: the disk is full");
  EXPECT_EQ(log.warning_count, 1);
  ASSERT_EQ(log.memory.size(), 4U);
  EXPECT_EQ(log.memory[0].name, "total");
  EXPECT_EQ(log.memory[0].measured, 21 << 20);
  EXPECT_EQ(log.memory[2].name, "gather slots");
  EXPECT_EQ(log.memory[2].planned, 12 << 20);
  EXPECT_EQ(log.memory[3].measured, 65536);
  ASSERT_EQ(log.samples.size(), 2U);
  EXPECT_EQ(log.samples[0].source, "ein <Haus>");
  EXPECT_EQ(log.samples[0].reference, "a: house");
  EXPECT_EQ(log.samples[1].hypothesis, "");
}

TEST_F(Readers, SamplesAreThoseOfTheLastValidationAndAnErrorBeforeAResumeIsOver) {
  const RunLog log =
      read_run_log(file("2026-11-30 02:33:00 Sample 1 source:     old\n"
                        "2026-11-30 02:33:00 error: killed\n"
                        "2026-11-30 02:34:00 Resumed x at step 3 (written by 1 ranks at stage 0).\n"
                        "2026-11-30 02:35:00 Sample 1 source:     new\n"));
  EXPECT_EQ(log.error, "");
  ASSERT_EQ(log.continuations.size(), 1U);
  ASSERT_EQ(log.samples.size(), 1U);
  EXPECT_EQ(log.samples[0].source, "new");
}

TEST_F(Readers, TheLogOfARunWithoutOneIsEmpty) {
  EXPECT_EQ(read_run_log(dir_ + "/absent").begin, "");
}

TEST_F(Readers, DeckWithOrigins) {
  const DeckFile deck = read_deck_file(file(
      "# Resolved by th_app from stage2; a deck that runs again.\n\n[run]\nseed = 1  # default\n"
      "output_dir =   # command line\n[data]\ntrain_source = /a b/c=d.en  # deck:7\n"));
  EXPECT_EQ(deck.name, "stage2");
  ASSERT_EQ(deck.lines.size(), 3U);
  EXPECT_EQ(deck.lines[0].key, "run.seed");
  EXPECT_FALSE(deck.lines[0].given());
  EXPECT_EQ(deck.lines[1].value, "");
  EXPECT_EQ(deck.lines[1].origin, "command line");
  EXPECT_EQ(deck.value("data.train_source"), "/a b/c=d.en");
  EXPECT_EQ(deck.lines[2].origin, "deck:7");
}

}  // namespace
