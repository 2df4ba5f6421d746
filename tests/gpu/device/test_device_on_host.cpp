#include "cuda/device/cuda_device.hpp"
#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/kernels.hpp"
#include "fakes/store_exam.hpp"
#include "gpu/fakes/fake_gpu.hpp"
#include "mpi_test.hpp"

#include "th/runtime/observe/flight_record.hpp"
#include "th/zero/slot_tree.hpp"

// The plugin's device over the fake GPU: its kernels are the bodies of the GPU's, run on the host
// in the order of the stream.
namespace th::cuda {

void update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands,
            void* stream) {
  fake::launch(static_cast<cudaStream_t>(stream),
               [=] { launch_update<HostLaunch<CpuOrder>>(factors, operands, nullptr); });
}
void block_square_sums(const void* x, ElementType type, std::int64_t blocks, double* out,
                       void* stream) {
  fake::launch(static_cast<cudaStream_t>(stream),
               [=] { zero::block_square_sums(x, type, blocks, out); });
}
void end_step(const runtime::StepRecords& records, void* stream) {
  fake::launch(
      static_cast<cudaStream_t>(stream),
      [all = records, units = std::vector(records.units.begin(), records.units.end())]() mutable {
        all.units = units;
        zero::end_step(all);
      });
}
void tree_sum(const runtime::TreeSum& sum, void* stream) {
  fake::launch(static_cast<cudaStream_t>(stream),
               [sum = runtime::TreeSum(sum),
                leaves = std::vector(sum.leaves.begin(), sum.leaves.end())]() mutable {
                 sum.leaves = leaves;
                 zero::tree_sum(sum);
               });
}
void accumulate(float* y, const float* x, std::int64_t count, void* stream) {
  fake::launch(static_cast<cudaStream_t>(stream), [=] {
    for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
  });
}
void round(const float* from, ElementType type, void* to, std::int64_t count, void* stream) {
  fake::launch(static_cast<cudaStream_t>(stream),
               [=] { zero::round_elements(from, type, to, count); });
}

namespace {

using th_test::store::Case;

class DeviceOnHost : public testing::TestWithParam<Case> {};

TEST_P(DeviceOnHost, UpdatesToTheBitsOfTheHostWhereverTheStatesLive) {
  const th_test::store::Outcome plain = th_test::store::expected(GetParam());
  for (const fake::Order order : {fake::Order::kComputeFirst, fake::Order::kCommunicationFirst}) {
    const Stream compute;
    fake::reset(order, compute.get());
    CudaDevice device(compute.get());
    EXPECT_EQ(through_a_store(GetParam(), device), plain) << "order " << static_cast<int>(order);
  }
}

INSTANTIATE_TEST_SUITE_P(Offload, DeviceOnHost, testing::ValuesIn(th_test::store::cases()),
                         [](const auto& p) { return p.param.name(); });

TEST(DeviceOnHost, StreamsEventsAndBlocksAreThoseOfTheRuntime) {
  const Stream compute;
  fake::reset(fake::Order::kCommunicationFirst, compute.get());
  CudaDevice device(compute.get());
  const runtime::DeviceBlock block(device, runtime::Place::kDevice, 64),
      pinned(device, runtime::Place::kHost, 64);
  const auto stream = device.make_stream(runtime::StreamUse::kCopies);
  device.host().wait({});  // of nothing: at once
  *pinned.data() = std::byte{7};
  device.compute().copy(block.data(), pinned.data(), 64);
  stream->wait(device.compute().record());
  stream->copy(pinned.data() + 1, block.data(), 1);
  const runtime::Event copied = stream->record();
  device.host().wait(copied);
  EXPECT_EQ(pinned.data()[1], std::byte{7}) << "the second stream ran before what it waits for";
  for (int i = 0; i < 3; ++i) (void)stream->record();
  device.compute().wait(copied);  // has passed, and its event may serve another point
  device.compute().drain();
}

TEST(DeviceOnHost, StampsComeWithTheTimesOfTheirStreamsWhenTheyHavePassed) {
  const Stream compute;
  fake::reset(fake::Order::kComputeFirst, compute.get());
  CudaDevice device(compute.get());
  const auto record = std::make_shared<runtime::FlightRecord>();
  const auto communication = device.make_stream(runtime::StreamUse::kCommunication);
  using On = runtime::FlightRecord::On;
  using What = runtime::FlightRecord::What;
  const std::int64_t before = runtime::monotonic_ns();
  const auto backward =
      runtime::FlightRecord::begin(record, device.compute(), What::kBackward, On::kCompute, 2);
  fake::advance(5);
  communication->enqueue("reduce",
                         [&] {
                           const runtime::FlightRecord::Scope scope(
                               record, *communication, What::kReduce, On::kCommunication, 3);
                           fake::launch(static_cast<CudaStream&>(*communication).get(),
                                        [] { fake::advance(20); });
                         },
                         {});
  device.compute().wait(communication->record());
  runtime::FlightRecord::end(record, device.compute(), backward);
  EXPECT_TRUE(record->events().empty()) << "nobody has asked";
  device.settle();
  const std::vector<runtime::FlightRecord::Event> events = record->events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].what, What::kBackward);
  EXPECT_GE(events[0].begin, before);
  EXPECT_TRUE(events[1].within(events[0]));
  EXPECT_EQ(events[1].end - events[1].begin, 20'000'000);
}

}  // namespace
}  // namespace th::cuda

TH_MPI_TEST_MAIN
