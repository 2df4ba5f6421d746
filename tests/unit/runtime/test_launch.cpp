#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "th/base/error.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/runtime/transport/launch.hpp"

namespace {

using th::runtime::broken_launch;
using th::runtime::launcher_rank;

th::runtime::Environment table(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> const char* {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second.c_str();
  };
}

TEST(Launch, ProcessesThatAreAloneAreBroken) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const auto message = broken_launch(1, table({{name, "4"}}));
    ASSERT_TRUE(message) << name;
    EXPECT_NE(message->find(std::string(name) + "=4"), std::string::npos) << *message;
    EXPECT_NE(message->find("mpirun"), std::string::npos) << *message;
  }
  const auto slurm = broken_launch(
      1, table({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "3"}}));
  ASSERT_TRUE(slurm);
  EXPECT_NE(slurm->find("--mpi=pmix"), std::string::npos) << *slurm;
}

TEST(Launch, SoundLaunches) {
  EXPECT_FALSE(broken_launch(1, table({})));
  EXPECT_FALSE(broken_launch(4, table({{"OMPI_COMM_WORLD_SIZE", "4"}})));
  EXPECT_FALSE(broken_launch(1, table({{"OMPI_COMM_WORLD_SIZE", "1"}})));
  EXPECT_FALSE(broken_launch(1, table({{"PMI_SIZE", "many"}})));
  // a batch shell and an allocation's shell: the count is of the job, not of this process
  EXPECT_FALSE(broken_launch(1, table({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}})));
  // mpirun -np 1 inside a step of several tasks
  EXPECT_FALSE(broken_launch(1, table({{"OMPI_COMM_WORLD_SIZE", "1"},
                                       {"SLURM_STEP_ID", "0"},
                                       {"SLURM_STEP_NUM_TASKS", "2"},
                                       {"SLURM_PROCID", "0"}})));
}

TEST(Launch, RankByTheLauncher) {
  EXPECT_EQ(launcher_rank(table({})), 0);
  EXPECT_EQ(launcher_rank(table({{"OMPI_COMM_WORLD_RANK", "2"}})), 2);
  EXPECT_EQ(launcher_rank(table({{"PMI_RANK", "5"}})), 5);
  EXPECT_EQ(launcher_rank(table(
                {{"SLURM_STEP_ID", "1"}, {"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_PROCID", "3"}})),
            3);
  EXPECT_EQ(launcher_rank(table({{"SLURM_PROCID", "3"}})), 0);
}

TEST(Launch, BindingWarningNamesTheWayOut) {
  const int cpus = th::runtime::cpus_in_mask();
  ASSERT_GT(cpus, 0);
  EXPECT_FALSE(th::runtime::binding_warning(cpus, 0));
  const auto warning = th::runtime::binding_warning(cpus, 1);
  ASSERT_TRUE(warning);
  for (const std::string& part :
       {std::string("--bind-to none"), "slot:PE=" + std::to_string(cpus + 1),
        std::string("--cpus-per-task=")}) {
    EXPECT_NE(warning->find(part), std::string::npos) << *warning;
  }
}

TEST(ResourceUsage, MemoryGrowsByWhatIsTouched) {
  constexpr std::size_t kSize = 64U << 20U;
  const std::int64_t before = th::runtime::rss_anon_bytes();
  const std::vector<char> block(kSize, 1);
  EXPECT_GT(th::runtime::rss_anon_bytes() - before, static_cast<std::int64_t>(kSize * 9 / 10))
      << block.back();
  EXPECT_GE(th::runtime::rss_bytes(), th::runtime::rss_anon_bytes());
  EXPECT_GE(th::runtime::peak_rss_bytes(), static_cast<std::int64_t>(kSize));
  EXPECT_GT(th::runtime::available_memory_bytes(), 0);
}

TEST(ResourceUsage, NodeAndMask) {
  EXPECT_FALSE(th::runtime::hostname().empty());
  EXPECT_FALSE(th::runtime::cpu_mask_text().empty());
}

TEST(PretendedNodes, AreCountsInRankOrderOrDealtInTurn) {
  using th::runtime::pretended_nodes;
  EXPECT_TRUE(pretended_nodes(table({}), 4).empty());
  EXPECT_TRUE(pretended_nodes(table({{"TH_FAKE_NODES", ""}}), 4).empty());
  EXPECT_EQ(pretended_nodes(table({{"TH_FAKE_NODES", "1,3"}}), 4), (std::vector<int>{0, 1, 1, 1}));
  EXPECT_EQ(pretended_nodes(table({{"TH_FAKE_NODES", "cyclic:2"}}), 5),
            (std::vector<int>{0, 1, 0, 1, 0}));
  for (const char* wrong :
       {"2,3", "2,1", "0,4", "-1,5", "2;2", "cyclic:", "cyclic:5", "cyclic:0", "two"}) {
    EXPECT_THROW((void)pretended_nodes(table({{"TH_FAKE_NODES", wrong}}), 4), th::DeckError)
        << wrong;
  }
}

}  // namespace
