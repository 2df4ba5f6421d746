#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "th/train/watch/time_use.hpp"
#include "th/train/watch/verdict.hpp"

// The words for made times: which part is named, and which key or command.
namespace th::train {
namespace {

using Lines = std::vector<std::string>;

/// Ten steps of `ranks` ranks, each second as RankUse has it.
TimeUse use_of(std::vector<RankUse> ranks, std::vector<double> waited_for = {}) {
  TimeUse use = TimeUse::of(ranks.size());
  use.first_step = 5;
  use.last_step = 14;
  use.steps = 10;
  use.ranks = std::move(ranks);
  if (!waited_for.empty()) use.waited_for = std::move(waited_for);
  return use;
}

/// A deck on three hosts with four slots a rank, and enough cores.
struct Deck {
  config::RunConfig config;
  RunFacts facts{config, {"node0", "node1", "node2"}, 12, config::Overlap::kOn, 1, 3, 8};
};

RankUse busy(double compute) { return {1, 0, compute, 1 - compute, 0, 0}; }

bool has(const std::string& line, const std::string& part) {
  return line.find(part) != std::string::npos;
}

TEST(Verdict, SaysWhatAStepIsMadeOf) {
  const Deck deck;
  const TimeUse use = use_of(
      {{2, 0.02, 1.4, 0.1, 0.4, 0.3}, {2, 0.02, 1.4, 0.1, 0.4, 0.3}, {2, 0.02, 1.8, 0.1, 0.0, 0.3}},
      {0, 0, 0.8});
  const Lines lines = verdict(use, deck.facts, TimesOf::kAllStreams);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0],
            "Time of steps 5 to 14, 3 ranks, 200.0 ms each: compute 76.7 %, communication 5.0 % "
            "(and 15.0 % beside compute), waiting for other ranks 13.3 %, waiting for data 1.0 %, "
            "other 4.0 %.");
}

TEST(Verdict, NamesTheRankThatAllWaitForWithItsHostAndHowMuchSlowerItIs) {
  Deck deck;
  // Rank 2 takes 1.3 times as long; the others wait for the difference.
  const TimeUse use =
      use_of({{1.3, 0, 1, 0, 0.3, 0}, {1.3, 0, 1, 0, 0.3, 0}, {1.3, 0, 1.3, 0, 0, 0}}, {0, 0, 0.6});
  Lines lines = verdict(use, deck.facts, TimesOf::kHost);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1],
            "Verdict: 15.4 % of a step is waiting for rank 2 on node2, whose compute takes 1.30 "
            "times the median rank's. Look at that host: other programs (top), a lower clock "
            "(lscpu), cores that two ranks share (mpirun --report-bindings).");
  deck.facts.nodes = 3;
  deck.facts.on_gpu = true;
  lines = verdict(use, deck.facts, TimesOf::kAllStreams);
  EXPECT_TRUE(has(lines.at(1), "nvidia-smi shows the clock")) << lines.at(1);
  EXPECT_TRUE(has(lines.at(1), "leave it out (sbatch --exclude=node2)")) << lines.at(1);
}

TEST(Verdict, TellsASlowReaderFromASlowComputer) {
  const Deck deck;
  const TimeUse use = use_of(
      {{2, 0.1, 1, 0.2, 0.7, 0}, {2, 0.9, 1, 0.1, 0, 0}, {2, 0.1, 1, 0.2, 0.7, 0}}, {0, 1.4, 0});
  const Lines lines = verdict(use, deck.facts, TimesOf::kHost);
  EXPECT_TRUE(has(lines.at(1),
                  "is waiting for rank 1 on node1, which waits for its batches 22.5 ms a "
                  "micro-batch, the median rank 2.5 ms. Raise data.num_workers (now 1)"))
      << lines.at(1);
}

TEST(Verdict, NamesARankThatComesLastThoughItComputesAsFast) {
  const Deck deck;
  const TimeUse use =
      use_of({{1, 0, 0.6, 0.1, 0.3, 0}, {1, 0, 0.6, 0.1, 0, 0}, {1, 0, 0.6, 0.1, 0.3, 0}},
             {0.01, 0.59, 0});
  const Lines lines = verdict(use, deck.facts, TimesOf::kAllStreams);
  EXPECT_TRUE(has(lines.at(1),
                  "rank 1 on node1, which computes as fast as the others and comes "
                  "last all the same: its network"))
      << lines.at(1);
}

TEST(Verdict, KnowsThatSlotsAreNotDealtEvenly) {
  Deck deck;
  deck.facts.slots = 8;  // 3, 3 and 2
  const TimeUse use =
      use_of({{3, 0, 3, 0, 0, 0}, {3, 0, 3, 0, 0, 0}, {3, 0, 2, 0, 1, 0}}, {0.5, 0.5, 0});
  const Lines lines = verdict(use, deck.facts, TimesOf::kHost);
  EXPECT_EQ(lines.at(1),
            "Verdict: 11.1 % of a step is waiting for ranks that have 3 of the 8 micro-batches, "
            "where others have 2. Start 2 ranks, or in a new run set train.micro_batches=9.");
}

TEST(Verdict, WaitsInTurnAreOfUnlikeMicroBatchesOrOfSharedCores) {
  Deck deck;
  const TimeUse use = use_of(
      {{1, 0, 0.8, 0, 0.2, 0}, {1, 0, 0.8, 0, 0.2, 0}, {1, 0, 0.8, 0, 0.2, 0}}, {0.2, 0.2, 0.2});
  const auto second = [&] { return verdict(use, deck.facts, TimesOf::kHost).at(1); };
  EXPECT_TRUE(has(second(),
                  "one rank and then another one: micro-batches of data.batch_size "
                  "sentences take unlike times. data.batch_tokens"))
      << second();
  deck.config.data.batch_tokens = 4000;
  EXPECT_TRUE(has(second(), "data.sort_window=8 has sentences of like length")) << second();
  deck.config.data.sort_window = 4;
  EXPECT_TRUE(has(second(), "Raise data.batch_tokens (now 4000) or data.sort_window (now 4)."))
      << second();
  deck.facts.cores_here = 2;
  EXPECT_TRUE(has(second(), "3 compute threads on 2 cores take turns. Start fewer ranks"))
      << second();
}

TEST(Verdict, WaitingForDataAsksForWorkers) {
  Deck deck;
  const TimeUse use = use_of({{1, 0.4, 0.5, 0.1, 0, 0}});
  const auto second = [&] { return verdict(use, deck.facts, TimesOf::kHost).at(1); };
  EXPECT_EQ(second(),
            "Verdict: 40.0 % of a step is waiting for batches. Set data.num_workers=2 "
            "(now 1); where the disk is slow, put data.index_dir on a local one.");
  deck.config.data.num_workers = 0;
  EXPECT_TRUE(has(second(),
                  "data.num_workers=2 prepares them beside compute (now 0: within the "
                  "step)"))
      << second();
  deck.facts.cores_here = 2;
  EXPECT_TRUE(has(second(), "and leave cores for them: 3 compute threads on 2 cores")) << second();
}

TEST(Verdict, CommunicationThatIsNotHiddenAsksForOverlapStageAndLargerBatches) {
  Deck deck;
  deck.config.zero.stage = 3;
  deck.config.data.batch_size = 16;
  const TimeUse use = use_of({busy(0.6), busy(0.6), busy(0.6)});
  const auto second = [&] { return verdict(use, deck.facts, TimesOf::kAllStreams).at(1); };
  EXPECT_EQ(second(),
            "Verdict: 40.0 % of a step is communication that compute does not hide: zero.stage=2 "
            "gathers parameters once a step, not twice a micro-batch, where its memory is there "
            "(th_app DECK --plan); zero.prefetch_units=3 (now 1) gathers earlier; a larger "
            "data.batch_size (now 16) sends the same bytes for more work; precision.dtype=bf16 "
            "sends parameters in half the bytes.");
  deck.facts.overlap = config::Overlap::kOff;
  EXPECT_TRUE(has(second(), "leave each rank a core for it")) << second();
  EXPECT_FALSE(has(second(), "prefetch")) << second();
  deck.config.comm.overlap = config::Overlap::kOff;
  EXPECT_TRUE(has(second(), "comm.overlap=on lets it run beside compute (the deck has off)"))
      << second();
  deck.config.zero.stage = 1;
  deck.config.precision.dtype = ElementType::kBf16;
  deck.config.data.batch_tokens = 500;
  deck.facts.nodes = 3;
  EXPECT_FALSE(has(second(), "zero.stage")) << second();
  EXPECT_TRUE(has(second(), "a larger data.batch_tokens (now 500)")) << second();
  EXPECT_TRUE(has(second(), "precision.reduce_dtype=working sends gradients in half")) << second();
  EXPECT_TRUE(has(second(), "OMPI_MCA_btl_tcp_if_include, NCCL_SOCKET_IFNAME")) << second();
}

TEST(Verdict, ComputeAsksForRecomputationOffAndForMoreRanks) {
  Deck deck;
  const TimeUse use = use_of({busy(0.95), busy(0.95), busy(0.95)});
  const auto all = [&] { return verdict(use, deck.facts, TimesOf::kAllStreams); };
  ASSERT_EQ(all().size(), 2U);
  EXPECT_EQ(all()[1],
            "Verdict: compute takes 95.0 % of a step, and nothing else a tenth. To go faster: 5 "
            "of the 8 cores of rank 0's host have no compute thread: more ranks, or run.threads.");
  deck.facts.cores_here = 3;
  EXPECT_TRUE(has(all()[1], "To go faster: more ranks divide it.")) << all()[1];
  deck.config.model.gradient_checkpointing = config::GradientCheckpointing::kFull;
  EXPECT_TRUE(has(all()[1], "model.gradient_checkpointing=none computes nothing twice"))
      << all()[1];
  deck.facts.on_gpu = true;
  EXPECT_TRUE(has(all()[1], "precision.dtype=bf16 computes faster on a GPU")) << all()[1];
}

TEST(Verdict, PaddingIsAPartOfComputeThatIsWorthAChange) {
  Deck deck;
  deck.facts.padding = 0.4;
  const TimeUse use = use_of({busy(0.95)});
  EXPECT_EQ(verdict(use, deck.facts, TimesOf::kHost).at(1),
            "Verdict: 40.0 % of what is computed is padding: data.batch_tokens takes sentences of "
            "like length together.");
  deck.config.data.batch_tokens = 100;
  EXPECT_TRUE(
      has(verdict(use, deck.facts, TimesOf::kHost).at(1), "a larger data.sort_window (now 1)"));
}

TEST(Verdict, ValidationSavesAndTheHostsOwnWorkAreNamed) {
  Deck deck;
  deck.config.train.valid_every_steps = 4;
  deck.config.checkpoint.async = false;
  TimeUse use = use_of({{10, 0, 7.5, 0, 0, 0}});
  use.validation = 6;
  use.checkpoints = 4;
  const Lines lines = verdict(use, deck.facts, TimesOf::kAllStreams);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[1],
            "Verdict: 30.0 % of the run's time is validation. Raise train.valid_every_steps (now "
            "4); valid.max_lines bounds what is translated.");
  EXPECT_EQ(lines[2],
            "Verdict: 25.0 % of a step is none of these: what the host does around passes and "
            "collectives. It weighs less in longer steps than these of 1000.0 ms: raise "
            "data.batch_size (now 32).");
  EXPECT_EQ(lines[3],
            "Verdict: 20.0 % of the run's time is saving. Set checkpoint.async=true, or raise "
            "checkpoint.every_epochs (now 1).");
  deck.config.checkpoint.async = true;
  deck.config.checkpoint.every_steps = 7;
  EXPECT_TRUE(has(verdict(use, deck.facts, TimesOf::kAllStreams)[3],
                  "is saving. Raise checkpoint.every_steps (now 7)."));
}

TEST(Verdict, TheLargestPartComesFirstAndAtMostThreeAreNamed) {
  Deck deck;
  deck.facts.padding = 0.9;
  TimeUse use = use_of({{1, 0.2, 0.4, 0.25, 0.15, 0}, {1, 0.2, 0.4, 0.25, 0.15, 0}}, {0.3, 0});
  use.validation = 1;
  const Lines lines = verdict(use, deck.facts, TimesOf::kHost);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_TRUE(has(lines[1], "50.0 % of the run's time is validation")) << lines[1];
  EXPECT_TRUE(has(lines[2], "is padding")) << lines[2];
  EXPECT_TRUE(has(lines[3], "25.0 % of a step is communication")) << lines[3];
}

TEST(Verdict, OfAGpuTheHostKnowsTheWaitForDataAlone) {
  Deck deck;
  deck.facts.on_gpu = true;
  Lines lines = verdict(use_of({{1, 0.01, 0.1, 0.4, 0.49, 0}}), deck.facts, TimesOf::kHost);
  EXPECT_EQ(lines, (Lines{"Time of steps 5 to 14, 1 rank, 100.0 ms each: waiting for data 1.0 %; "
                          "the rest is the GPUs', which a trace shows.",
                          "Verdict: batches are ready in time. profile.enabled=true tells what the "
                          "GPUs do and what to change."}));
  lines = verdict(use_of({{1, 0.3, 0.1, 0.1, 0.49, 0}}), deck.facts, TimesOf::kHost);
  EXPECT_TRUE(has(lines.at(1), "30.0 % of a step is waiting for batches")) << lines.at(1);
}

TEST(Verdict, OfNoStepsThereIsNone) {
  const Deck deck;
  EXPECT_EQ(verdict(TimeUse::of(3), deck.facts, TimesOf::kHost), Lines{});
  EXPECT_EQ(verdict(TimeUse(), deck.facts, TimesOf::kHost), Lines{});
}

TEST(TimeUse, TheRankThatSpendsTheLeastInCollectivesIsTheOneThatTheOthersWaitFor) {
  TimeUse use = TimeUse::of(3);
  use.add(7, std::vector<StepTimes>{{0.1, 1, 0.5, 0.2}, {0, 1.4, 0.2, 0}, {0, 1, 0.6, 0}});
  use.add(8, std::vector<StepTimes>{{0, 1, 0.25, 0}, {0, 1, 0.25, 0}, {0, 1, 0.25, 0}});
  EXPECT_EQ(use.steps, 2);
  EXPECT_EQ(use.first_step, 7);
  EXPECT_EQ(use.last_step, 8);
  EXPECT_DOUBLE_EQ(use.waited_for[1], 0.3 + 0.4);
  EXPECT_DOUBLE_EQ(use.waited_for[0] + use.waited_for[2], 0);
  EXPECT_DOUBLE_EQ(use.ranks[0].data, 0.1);
  EXPECT_DOUBLE_EQ(use.ranks[0].compute, 2);
  EXPECT_DOUBLE_EQ(use.ranks[0].communication, 0.2 + 0.25);
  EXPECT_DOUBLE_EQ(use.ranks[0].waiting, 0.3);
  EXPECT_DOUBLE_EQ(use.ranks[0].hidden, 0.2);
  EXPECT_DOUBLE_EQ(use.ranks[1].waiting, 0);
  EXPECT_DOUBLE_EQ(use.total().seconds, 1.6 * 3 + 1.25 * 3);
  use.add(9, std::vector<StepTimes>{{0, 1, 0, 0}});
  EXPECT_EQ(use.steps, 2) << "not of all ranks";
}

}  // namespace
}  // namespace th::train
