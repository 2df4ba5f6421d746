#include "th/base/packed_error.hpp"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "th/base/error.hpp"

namespace th {
namespace {

template <typename Thrown>
std::pair<int, std::string> told(const Thrown& thrown) {
  try {
    throw thrown;
  } catch (const std::exception&) {
    return unpacked_error(packed_current_error(" on rank 3", "take less"));
  }
}

TEST(PackedError, CodeAndTextComeBack) {
  using Told = std::pair<int, std::string>;
  EXPECT_EQ(unpacked_error(packed_error(75, "a text\nof two lines ")),
            Told(75, "a text\nof two lines "));
  EXPECT_EQ(unpacked_error(packed_error(1, "")), Told(1, ""));
  EXPECT_THROW(static_cast<void>(unpacked_error("75")), InternalError);
}

TEST(PackedError, EachKindOfExceptionHasItsCode) {
  using Told = std::pair<int, std::string>;
  EXPECT_EQ(told(DataError("f:1: bad")), Told(3, "f:1: bad"));
  EXPECT_EQ(told(std::bad_alloc()), Told(4, "out of memory on rank 3; take less"));
  EXPECT_EQ(told(std::runtime_error("why")), Told(1, "internal error: why"));
}

}  // namespace
}  // namespace th
