// zero.partition=node: the bits of one rank, no gathers within a step, and bytes and memory as
// planned.
#include <gtest/gtest.h>

#include "engine_run.hpp"
#include "exact_run.hpp"
#include "measured_memory.hpp"
#include "mpi_test.hpp"
#include "th/base/error.hpp"

namespace {

using th::config::RunConfig;
using th::runtime::MemoryClass;
using th::runtime::TransportChoice;
using th_test::between_nodes_in_a_step;
using th_test::EngineRun;
using th_test::node_placements;
using th_test::ranks;
using th_test::exact::kSlots;
using th_test::exact::run;
using th_test::exact::Trace;

RunConfig make_config(std::int64_t stage) {
  RunConfig c = th_test::exact::small_config(stage);
  c.zero.partition = th::config::Partition::kNode;
  return c;
}

TEST(Partition, ByNodeGivesTheBitsOfOneRank) {
  for (const auto dtype : {th::ElementType::kFp32, th::ElementType::kBf16}) {
    RunConfig config = make_config(0);
    config.precision.dtype = dtype;
    const Trace alone =
        th_test::made_by_rank_0<Trace>([&] { return run(MPI_COMM_SELF, config, kSlots); });
    config.zero.stage = 3;
    for (const std::vector<int>& nodes : node_placements(ranks())) {
      config.comm.overlap = config.comm.overlap == th::config::Overlap::kOn
                                ? th::config::Overlap::kOff
                                : th::config::Overlap::kOn;
      const Trace together = run(MPI_COMM_WORLD, config, kSlots, TransportChoice::kBest, nodes);
      EXPECT_EQ(alone.numbers, together.numbers) << testing::PrintToString(nodes);
      EXPECT_EQ(alone.parameters, together.parameters) << testing::PrintToString(nodes);
    }
  }
}

TEST(Partition, BytesAreThoseOfStageTwoAndAsPlanned) {
  const std::int64_t slots = 2 * ranks() + 1;
  for (const std::vector<int>& placement : node_placements(ranks())) {
    const std::string where = testing::PrintToString(placement);
    EngineRun second(make_config(2), slots, placement);
    const th::runtime::ByteCounters of_stage_2 = between_nodes_in_a_step(second);
    const RunConfig config = make_config(3);
    EngineRun third(config, slots, placement);
    const th::runtime::ByteCounters before = third.collectives->bytes_sent();
    const th::runtime::ByteCounters seen = between_nodes_in_a_step(third);
    const th::runtime::ByteCounters sent = third.collectives->bytes_sent() - before;
    EXPECT_EQ(seen.exchange, of_stage_2.exchange) << where;
    EXPECT_EQ(seen.all_gather, of_stage_2.all_gather) << where;
    const auto use = th::zero::unit_use(third.model);
    EXPECT_EQ(sent.total(),
              th::zero::step_traffic(config, third.engine->layout(), use, slots).total())
        << where;
    const th::zero::StepTraffic planned =
        th::zero::traffic_between_nodes(config, third.engine->layout(), use, slots,
                                        th::runtime::NodeMap(placement), third.collectives->rank());
    EXPECT_EQ(seen.exchange, planned.exchange) << where;
    EXPECT_EQ(seen.all_gather, planned.all_gather) << where;
  }
}

using PartitionMemory = th_test::OnTheLedger<testing::Test>;

TEST_F(PartitionMemory, ARankHoldsItsPartOfItsNodesParametersAsPlanned) {
  RunConfig config =
      th_test::make_config(3, th_test::GradientCheckpointing::kFull, th_test::kSizes[0]);
  config.zero.partition = th::config::Partition::kNode;
  for (const std::vector<int>& nodes : node_placements(ranks())) {
    const th_test::PlannedAndSeen update = th_test::plan_and_measure(config, nodes);
    for (const MemoryClass kind : {MemoryClass::kParameters, MemoryClass::kGradients,
                                   MemoryClass::kGatherSlots, MemoryClass::kMaster})
      EXPECT_EQ(update.planned[kind], update.seen[kind]) << testing::PrintToString(nodes);
    const std::int64_t whole = th_test::layout_of(config).padded_total(),
                       peers = th::runtime::NodeMap(nodes).node_size(th_test::rank());
    EXPECT_EQ(update.planned[MemoryClass::kParameters], (whole + peers - 1) / peers * 4);
  }
}

TEST_F(PartitionMemory, WithoutSharedMemoryItIsRefusedAndTheOtherIsNamed) {
  if (ranks() == 1) GTEST_SKIP() << "a node of one rank shares nothing";
  RunConfig config =
      th_test::make_config(3, th_test::GradientCheckpointing::kFull, th_test::kSizes[0]);
  config.zero.partition = th::config::Partition::kNode;
  th::zero::PlanRequest request = th_test::plan_request(config, th_test::kSizes[0], false);
  request.shared_room = 1000;
  for (const bool messages : {false, true}) {
    request.messages = messages;
    try {
      (void)th::zero::plan_memory(request);
      ADD_FAILURE() << "planned";
    } catch (const th::MemoryError& error) {
      EXPECT_NE(std::string(error.what()).find("take zero.partition=world"), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace

TH_MPI_TEST_MAIN
