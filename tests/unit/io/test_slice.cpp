#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/io/checkpoint/slice.hpp"

namespace {
using namespace th::io;
using Rows = std::vector<std::vector<float>>;

/// The slice of an array 0, 1, 2, … of that shape, read as th_inspect does.
Rows slice_of(const std::string& slice, const std::vector<std::int64_t>& shape) {
  const auto ranges = parse_slice(slice, shape);
  const RowSpan span = rows_to_read(ranges, shape);
  std::vector<float> values(static_cast<std::size_t>(span.count));
  std::iota(values.begin(), values.end(), static_cast<float>(span.begin));
  return take_rows(values, ranges, shape);
}

std::string problem(const std::string& slice, const std::vector<std::int64_t>& shape) {
  try {
    (void)parse_slice(slice, shape);
  } catch (const th::DeckError& error) {
    return error.what();
  }
  return "";
}

TEST(Slice, RangesAndIndicesMeanWhatTheyMeanInNumpy) {
  EXPECT_EQ(slice_of("", {2, 3}), (Rows{{0, 1, 2}, {3, 4, 5}}));
  EXPECT_EQ(slice_of("1:3", {4, 2}), (Rows{{2, 3}, {4, 5}}));
  EXPECT_EQ(slice_of("-2:", {4, 2}), (Rows{{4, 5}, {6, 7}}));
  EXPECT_EQ(slice_of(":-3", {4, 2}), (Rows{{0, 1}}));
  EXPECT_EQ(slice_of(" 1 : 3 , -2 : ", {3, 4}), (Rows{{6, 7}, {10, 11}}));
  EXPECT_EQ(slice_of(":,1", {2, 3}), (Rows{{1}, {4}}));
  EXPECT_EQ(slice_of("-1", {3, 2}), (Rows{{4, 5}}));
  EXPECT_EQ(slice_of("1,0:2,-1", {2, 3, 2}), (Rows{{7, 9}}));
  EXPECT_EQ(slice_of("4:9", {9}), (Rows{{4}, {5}, {6}, {7}, {8}}));
  EXPECT_EQ(slice_of("2:1", {4}), Rows{});
  EXPECT_EQ(slice_of("4:", {4}), Rows{});
  EXPECT_EQ(slice_of(":,3:", {2, 3}), (Rows{{}, {}}));
}

TEST(Slice, OutOfRangeNamesDimensionAndExtent) {
  EXPECT_EQ(problem("4", {4}), "slice '4' is out of range: dimension 0 has 4 elements");
  EXPECT_EQ(problem("-5", {4}), "slice '-5' is out of range: dimension 0 has 4 elements");
  EXPECT_EQ(problem("0:5", {4}), "slice '0:5' is out of range: dimension 0 has 4 elements");
  EXPECT_EQ(problem("0,-8:", {4, 7}), "slice '-8:' is out of range: dimension 1 has 7 elements");
  EXPECT_NE(problem("0,0,0", {4, 7}).find("more dimensions than the shape [4, 7]"),
            std::string::npos);
  EXPECT_NE(problem("0", {}).find("more dimensions"), std::string::npos);
}

TEST(Slice, WhatIsNoSliceIsRefused) {
  for (const char* text :
       {"a", "1:b", "1:2:1", "1.5", "99999999999999999999", "0x1", ",", "1,", "--1"})
    EXPECT_NE(problem(text, {8, 8}), "") << text;
  for (const char* text : {"W[", "W[1:2", "W[1]x", "W[1][2]", "W[[1]]", "W[]"})
    EXPECT_THROW((void)split_slice(text), th::DeckError) << text;
  const SlicedName whole = split_slice("exp_avg/W"), cut = split_slice("W[ 1:2,3 ]");
  EXPECT_EQ(whole.name + "|" + whole.slice, "exp_avg/W|");
  EXPECT_EQ(cut.name + "|" + cut.slice, "W|1:2,3");
}

}  // namespace
