// comm.dealing=blocks: the bits of one rank, fewer bytes, and both bytes and memory as planned.
#include <gtest/gtest.h>

#include "engine_run.hpp"
#include "exact_run.hpp"
#include "measured_memory.hpp"
#include "mpi_test.hpp"

namespace {

using th::runtime::TransportChoice;
using th_test::between_nodes_in_a_step;
using th_test::EngineRun;
using th_test::node_placements;
using th_test::ranks;
using th_test::exact::run;
using th_test::exact::small_config;
using th_test::exact::Trace;

TEST(Dealing, BlocksGiveTheBitsOfOneRank) {
  const std::int64_t n = ranks();
  for (const std::int64_t slots : {4 * n, n > 4 ? 2 * n : 3 * n + 1}) {
    th::config::RunConfig config = small_config(0);
    const Trace alone =
        th_test::made_by_rank_0<Trace>([&] { return run(MPI_COMM_SELF, config, slots); });
    config.comm.dealing = th::config::Dealing::kBlocks;
    const auto expect_the_same = [&](TransportChoice transport, const std::vector<int>& nodes) {
      const Trace together = run(MPI_COMM_WORLD, config, slots, transport, nodes);
      const std::string where = std::to_string(slots) + " slots, stage " +
                                std::to_string(config.zero.stage) + ", nodes " +
                                testing::PrintToString(nodes);
      EXPECT_EQ(alone.numbers, together.numbers) << where;
      EXPECT_EQ(alone.parameters, together.parameters) << where;
    };
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      config.zero.stage = stage;
      config.comm.overlap = stage % 2 == 0 ? th::config::Overlap::kOn : th::config::Overlap::kOff;
      expect_the_same(stage < 2 ? TransportChoice::kBest : TransportChoice::kMpi, {});
    }
    for (const std::vector<int>& nodes : node_placements(ranks())) {
      config.zero.stage = config.zero.stage == 0 ? 2 : 0;
      config.comm.overlap = th::config::Overlap::kOff;
      expect_the_same(TransportChoice::kBest, nodes);
    }
  }
}

TEST(BytesSent, OfBlocksAreThoseOfTheirExchanges) {
  const std::int64_t n = ranks();
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    for (const std::int64_t slots : {n, 4 * n, 7 * n + 1}) {
      th::config::RunConfig config = small_config(stage);
      config.comm.dealing = th::config::Dealing::kBlocks;
      EngineRun run(config, slots);
      const th::runtime::ByteCounters sent = th_test::sent_in_a_step(run);
      const th::zero::StepTraffic planned = th::zero::step_traffic(
          config, run.engine->layout(), th::zero::unit_use(run.model), slots);
      // Of 4 slots a rank one sum leaves it; of 7 those of 4, of 2 and of one, and slot 7 n alone.
      const std::int64_t exchanges = slots == 7 * n + 1 && n > 1 ? 4 : 1;
      EXPECT_EQ(sent.exchange, exchanges * run.engine->layout().shard_total() * (n - 1) * 4)
          << "stage " << stage << ", " << slots << " slots";
      EXPECT_EQ(planned.exchange, sent.exchange) << "stage " << stage << ", " << slots << " slots";
      EXPECT_EQ(planned.total(), sent.total()) << "stage " << stage << ", " << slots << " slots";
    }
  }
}

TEST(BytesBetweenNodes, OfBlocksAreWhatWasPlannedForEveryPlacement) {
  const std::int64_t n = ranks();
  th::config::RunConfig config = small_config(0);
  config.comm.dealing = th::config::Dealing::kBlocks;
  for (const std::vector<int>& placement : node_placements(ranks())) {
    const th::runtime::NodeMap nodes(placement);
    std::int64_t of_one_slot = 0;
    for (const std::int64_t slots : {n, 4 * n, 7 * n + 1}) {
      EngineRun run(config, slots, placement);
      const th::runtime::ByteCounters seen = between_nodes_in_a_step(run);
      const th::zero::StepTraffic planned = th::zero::traffic_between_nodes(
          config, run.engine->layout(), th::zero::unit_use(run.model), slots, nodes,
          run.collectives->rank());
      const std::string where =
          std::to_string(slots) + " slots, nodes " + testing::PrintToString(placement);
      EXPECT_EQ(seen.exchange, planned.exchange) << where;
      EXPECT_EQ(seen.all_gather, planned.all_gather) << where;
      if (slots == n) of_one_slot = seen.exchange;
      if (slots == 4 * n) {
        EXPECT_EQ(seen.exchange, of_one_slot) << where;
      }
    }
  }
}

using DealingMemory = th_test::OnTheLedger<testing::Test>;

TEST_F(DealingMemory, SumsOfBlocksArePlannedToTheByte) {
  for (const std::vector<int>& nodes : node_placements(ranks())) {
    for (const std::int64_t stage : {0, 2}) {
      th::config::RunConfig config =
          th_test::make_config(stage, th_test::GradientCheckpointing::kFull, th_test::kSizes[0]);
      config.comm.dealing = th::config::Dealing::kBlocks;
      th_test::expect_communication_as_planned(config, nodes);
    }
  }
}

}  // namespace

TH_MPI_TEST_MAIN
