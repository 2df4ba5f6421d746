// The start-up self-test passes on every placement of ranks, and a wrong contribution of any rank
// to any collective is named by all; so is a collective that differs from the others'.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "mpi_test.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/runtime/transport/order_check.hpp"
#include "th/runtime/transport/self_test.hpp"
#include "th/runtime/transport/watched_collectives.hpp"

namespace th::runtime {
namespace {

using th_test::ranks;

constexpr const char* kCalls[] = {
    "exchange", "exchange_sums",   "all_gather",        "all_gather_shared",
    "shards",   "all_reduce_fast", "sum_in_rank_order", "all_gather_doubles",
    "maximum",  "broadcast",       "gather_texts"};

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
      EXPECT_NE(message.find(std::string(": ") + call + ": expected "), std::string::npos)
          << call << ": " << message;
      EXPECT_NE(message.find("failed on rank "), std::string::npos) << message;
      EXPECT_NE(message.find(", seen "), std::string::npos) << message;
    }
    (void)self_test(*collectives);  // the transport itself is sound, and still in step
  }
}

TEST(SharedBuffer, IsOneForTheRanksOfANodeAndOneRanksForgettingChangesNoValue) {
  constexpr std::int64_t kSlice = 1 << 20;  // floats: 4 MiB
  for (const std::vector<int>& nodes : th_test::node_placements(ranks())) {
    const auto all = make_mpi_collectives(MPI_COMM_WORLD, TransportChoice::kBest, nodes);
    const NodeMap map = all->nodes();
    const int rank = all->rank(), n = all->size();
    const std::int64_t counted = MemoryLedger::process().current().total();
    const auto buffer = all->allocate_shared(4 * kSlice * n, 4 * kSlice);
    ASSERT_TRUE(buffer->one_a_node());
    EXPECT_EQ(MemoryLedger::process().current().total() - counted, kSlice * 4);
    const std::int64_t empty = rss_shared_bytes();
    auto* values = buffer->as<float>();
    std::fill_n(values + kSlice * rank, kSlice, static_cast<float>(rank + 1));
    all->barrier();
    for (int r = 0; r < n; ++r) {  // written in place, without a collective
      for (std::int64_t i = 0; i < kSlice; ++i)
        ASSERT_EQ(values[kSlice * r + i], map.share(rank, r) ? static_cast<float>(r + 1) : 0) << r;
    }
    all->barrier();
    all->all_gather(*buffer, {0, 4 * kSlice}, buffer->data());
    for (int r = 0; r < n; ++r) {
      for (std::int64_t i = 0; i < kSlice; ++i)
        ASSERT_EQ(values[kSlice * r + i], static_cast<float>(r + 1)) << r;
    }
    const std::int64_t read = rss_shared_bytes();
    for (int r = 0; r < n; ++r) {
      if (r != rank) buffer->forget(4 * kSlice * r, 4 * kSlice);
    }
    if (map.node_size(rank) > 1) {
      EXPECT_GE(read - empty, kSlice * 4 * (n - 1));
      EXPECT_LE(rss_shared_bytes() - empty, kSlice * 4 + (1 << 20))
          << "what is forgotten still counts as resident";
    }
    for (int r = 0; r < n; ++r)
      EXPECT_EQ(values[kSlice * r + kSlice / 2], static_cast<float>(r + 1)) << r;
    all->barrier();
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

TEST(OrderCheck, TheFirstRankWhoseCollectiveDiffersIsNamedByAll) {
  const auto inner = make_mpi_collectives(MPI_COMM_WORLD);
  Watchdog watchdog({"", inner->rank(), 0, 1, 60});
  OrderCheck check(MPI_COMM_WORLD);
  const auto watched = make_watched_collectives(*inner, watchdog, &check);
  const int last = watched->size() - 1;
  EXPECT_EQ(watched->control().maximum(watched->rank()), last);
  std::string message;
  try {
    if (watched->rank() == last)
      watched->barrier();
    else
      (void)watched->control().maximum(1);
  } catch (const MpiError& error) {
    message = error.what();
  }
  const std::string expected =
      "comm.check_order: the ranks' collectives differ at call 2: rank 0 calls maximum (0, 0), "
      "rank " +
      std::to_string(last) + " calls barrier (0, 0)";
  EXPECT_EQ(message, last == 0 ? "" : expected);
  std::vector<double> values(watched->rank() == last && last > 0 ? 3 : 2);
  const auto sum = [&] { watched->control().sum_in_rank_order(values); };
  if (last > 0)
    EXPECT_THROW(sum(), MpiError) << "another size is another call";
  else
    sum();
  const auto buffer = watched->allocate(watched->size() * std::int64_t{16});
  (void)watched->exchange(*buffer, {0, 16});
  watched->finish_exchange();
}

}  // namespace
}  // namespace th::runtime

TH_MPI_TEST_MAIN
