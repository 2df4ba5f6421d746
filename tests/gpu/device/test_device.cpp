#include "cuda/device/cuda_device.hpp"
#include "fakes/store_exam.hpp"
#include "gpu/device/gpu_test.hpp"

// The plugin's device on a GPU: the store's steps with the CPU's bits.
namespace th::cuda {
namespace {

using th_test::store::Case;

class DeviceOnGpu : public testing::TestWithParam<Case> {};

TEST_P(DeviceOnGpu, UpdatesToTheBitsOfTheHostWhereverTheStatesLive) {
  const Stream compute;
  CudaDevice device(compute.get());
  EXPECT_EQ(through_a_store(GetParam(), device), th_test::store::expected(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Offload, DeviceOnGpu, testing::ValuesIn(th_test::store::cases()),
                         [](const auto& p) { return p.param.name(); });

}  // namespace
}  // namespace th::cuda
