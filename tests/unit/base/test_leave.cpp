#include "th/base/leave.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace {

TEST(Leave, GivesTheCodeAndWritesWhatIsBuffered) {
  EXPECT_EXIT(
      {
        static char buffer[64];
        std::setvbuf(stderr, buffer, _IOFBF, sizeof buffer);
        std::fputs("last words", stderr);
        th::leave(75);
      },
      testing::ExitedWithCode(75), "last words");
}

TEST(Leave, RunsNothingThatWaitsForACommonExit) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers look at a common exit";
#endif
  EXPECT_EXIT(
      {
        std::atexit([] { std::_Exit(1); });
        th::leave(0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
