// An error that one rank alone has is told at once: nothing that unwinds on its way waits for the
// other ranks.
#include <gtest/gtest.h>

#include <chrono>
#include <new>
#include <optional>
#include <stdexcept>

#include "mpi_test.hpp"
#include "small_run.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"

namespace {

using Seconds = std::chrono::duration<double>;
using th::runtime::Communicator;

TEST(OneRankError, LeavesAllThatRanksShareWithoutWaiting) {
  const Communicator told = Communicator::duplicate(MPI_COMM_WORLD),
                     never = Communicator::duplicate(MPI_COMM_WORLD);
  const bool mine = told.rank() == told.size() - 1;
  for (const std::int64_t stage : {0, 2, 3}) {
    for (const th::config::Overlap overlap :
         {th::config::Overlap::kOff, th::config::Overlap::kOn}) {
      using Clock = std::chrono::steady_clock;
      Clock::time_point thrown;
      try {
        const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
        th::config::RunConfig config = SmallRun::make_config(32, stage);
        config.comm.overlap = overlap;
        SmallRun run(config, *collectives);
        (void)run.train(1);
        const auto buffer = collectives->allocate(4000);
        const auto shared = collectives->allocate_shared(4000, 4000);
        if (mine) {
          thrown = Clock::now();
          throw std::bad_alloc();
        }
        ASSERT_TRUE(told.meet(std::nullopt)) << "the one that has the error is through";
        throw std::runtime_error("the end of the others");
      } catch (const std::bad_alloc&) {
        EXPECT_LT(Seconds(Clock::now() - thrown), Seconds(20))
            << "far below the limit of a hang; the others wait all the while";
        ASSERT_TRUE(told.meet(std::nullopt));
      } catch (const std::runtime_error&) {
      }
    }
  }
  if (mine && told.size() > 1) {
    EXPECT_FALSE(never.meet(Seconds(0.1)));
  }
  EXPECT_TRUE(told.meet(Seconds(100)));
}

}  // namespace

TH_MPI_TEST_MAIN
