// The start-up self-test passes on every placement of ranks, and a wrong contribution of any rank to any collective is named by all.
#include <gtest/gtest.h>

#include "mpi_test.hpp"
#include "th/base/error.hpp"
#include "th/runtime/mpi_collectives.hpp"
#include "th/runtime/self_test.hpp"

namespace th::runtime {
namespace {

constexpr const char* kCalls[] = {"exchange", "exchange_sums", "all_gather", "shards", "all_reduce_fast", "sum_in_rank_order", "all_gather_doubles",
                                  "maximum", "broadcast", "gather_texts"};

int ranks() {
  int n = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &n);
  return n;
}

TEST(SelfTest, PassesOnEveryPlacementAndMeasuresRates) {
  for (const TransportChoice choice : {TransportChoice::kBest, TransportChoice::kMpi}) {
    for (const std::vector<int>& nodes : th_test::node_placements(ranks())) {
      const auto collectives = make_mpi_collectives(MPI_COMM_WORLD, choice, nodes);
      const SelfTestRates rates = self_test(*collectives);
      EXPECT_EQ(rates.exchange > 0, ranks() > 1) << testing::PrintToString(nodes);
      EXPECT_EQ(rates.all_gather > 0, ranks() > 1) << testing::PrintToString(nodes);
    }
  }
}

TEST(SelfTest, AWrongContributionIsNamedOnEveryRankWithExpectedAndSeen) {
  std::vector<int> halves;
  for (int r = 0; r < ranks(); ++r) halves.push_back(r < ranks() / 2 ? 0 : 1);
  for (const TransportChoice choice : {TransportChoice::kBest, TransportChoice::kMpi}) {
    const auto collectives = make_mpi_collectives(MPI_COMM_WORLD, choice, halves);
    for (const char* call : kCalls) {
      const std::string planted = std::string(call) + "@" + std::to_string(ranks() - 1);
      std::string message;
      try {
        (void)self_test(*collectives, planted_fault(planted.c_str(), collectives->rank()));
      } catch (const MpiError& error) {
        message = error.what();
      }
      EXPECT_NE(message.find(std::string(": ") + call + ": expected "), std::string::npos) << call << ": " << message;
      EXPECT_NE(message.find("failed on rank "), std::string::npos) << message;
      EXPECT_NE(message.find(", seen "), std::string::npos) << message;
    }
    (void)self_test(*collectives);  // the transport itself is sound, and still in step
  }
}

TEST(SelfTest, PlantedFaultsAreReadFromTheEnvironmentsText) {
  EXPECT_EQ(planted_fault(nullptr, 0), "");
  EXPECT_EQ(planted_fault("shards", 0), "shards");
  EXPECT_EQ(planted_fault("shards", 1), "");
  EXPECT_EQ(planted_fault("shards@3", 3), "shards");
  EXPECT_EQ(planted_fault("shards@3", 0), "");
  EXPECT_THROW((void)planted_fault("shards@last", 0), DeckError);
}

}  // namespace
}  // namespace th::runtime

TH_MPI_TEST_MAIN
