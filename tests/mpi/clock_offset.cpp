// The offset of the nodes' clocks, found by barriers: right to the error that it tells, on every
// placement of ranks, whatever the clocks say.
#include <gtest/gtest.h>

#include "mpi_test.hpp"
#include "th/runtime/transport/clock_offset.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"

namespace th::runtime {
namespace {

using th_test::ranks;

std::int64_t ahead = 0;  // of this rank's clock
std::int64_t skewed_clock() { return monotonic_ns() + ahead; }

TEST(ClockOffset, IsFoundWithinItsErrorWhateverTheClocksSay) {
  for (const std::vector<int>& placement : th_test::node_placements(ranks())) {
    const auto collectives =
        make_mpi_collectives(MPI_COMM_WORLD, TransportChoice::kBest, placement);
    const NodeMap nodes = collectives->nodes();
    for (const std::int64_t step :
         {std::int64_t{0}, std::int64_t{3'000'000'000}, std::int64_t{-86'400'000'000'000}}) {
      const std::int64_t expected = nodes.node_of(collectives->rank()) * step;
      ahead = 1'000'000 + expected;
      const ClockOffset found = measure_clock_offset(*collectives, skewed_clock);
      EXPECT_LE(std::abs(found.ns - expected), found.error_ns)
          << "rank " << collectives->rank() << " of " << testing::PrintToString(placement);
      const bool with_first = nodes.share(0, collectives->rank());
      EXPECT_EQ(found.error_ns == 0, with_first);
      EXPECT_TRUE(!with_first || found.ns == 0);
    }
  }
}

}  // namespace
}  // namespace th::runtime

TH_MPI_TEST_MAIN
