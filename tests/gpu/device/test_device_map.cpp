#include "cuda/device/device_map.hpp"

#include "th/base/error.hpp"

#include <gtest/gtest.h>

namespace th::cuda {
namespace {

using Ranks = std::vector<VisibleDevices>;

std::string refusal(const Ranks& ranks) {
  try {
    (void)assign_devices(ranks, false);
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "none";
}

TEST(DeviceMap, GivesTheRanksOfEachNodeItsDevicesInOrder) {
  const Ranks ranks{{"a", {"x", "y"}}, {"b", {"u", "v"}}, {"a", {"x", "y"}}, {"b", {"u", "v"}}};
  EXPECT_EQ(assign_devices(ranks, false), (std::vector<int>{0, 0, 1, 1}));
}

TEST(DeviceMap, ARankThatSeesOneDeviceAloneTakesIt) {
  EXPECT_EQ(assign_devices(Ranks{{"a", {"x"}}, {"a", {"y"}}, {"a", {"z"}}}, false),
            (std::vector<int>{0, 0, 0}));
}

TEST(DeviceMap, MoreRanksThanDevicesNamesBothNumbersAndTheNode) {
  const Ranks ranks{{"node7", {"x", "y"}}, {"node7", {"x", "y"}}, {"node7", {"x", "y"}}};
  EXPECT_NE(refusal(ranks).find("node7 has more ranks than GPUs: 3 ranks, 2 GPUs"),
            std::string::npos)
      << refusal(ranks);
  EXPECT_NE(refusal(ranks).find("comm.backend=mpi"), std::string::npos);
}

TEST(DeviceMap, TwoRanksOnOneDeviceAreNamed) {
  const Ranks ranks{{"a", {"y"}}, {"a", {"x", "y"}}, {"a", {"x", "y", "z"}}};
  EXPECT_NE(refusal(ranks).find("rank 1 on a and rank 0 would both take the GPU y"),
            std::string::npos)
      << refusal(ranks);
}

TEST(DeviceMap, SharingDealsTheDevicesInTurn) {
  const Ranks ranks{{"a", {"x", "y"}}, {"a", {"x", "y"}}, {"a", {"x", "y"}}};
  EXPECT_EQ(assign_devices(ranks, true), (std::vector<int>{0, 1, 0}));
  EXPECT_EQ(refusal({{"a", {}}}).find("a has more ranks than GPUs: 1 rank, 0 GPUs"), 0U);
}

TEST(DeviceMap, TextCarriesHostAndDevices) {
  const VisibleDevices back = decode(encode({"host", {"one", "two"}}));
  EXPECT_EQ(back.host, "host");
  EXPECT_EQ(back.devices, (std::vector<std::string>{"one", "two"}));
  EXPECT_TRUE(decode(encode({"host", {}})).devices.empty());
}

}  // namespace
}  // namespace th::cuda
