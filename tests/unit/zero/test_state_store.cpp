#include <gtest/gtest.h>

#include "fakes/fake_device.hpp"
#include "fakes/store_exam.hpp"
#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/zero/host_device.hpp"

namespace th::zero {
namespace {

using th_test::FakeDevice;
using namespace th_test::store;

class Stores : public testing::TestWithParam<Case> {};

TEST_P(Stores, UpdateToTheSameBitsWhereverTheStatesLive) {
  const Outcome plain = expected(GetParam());
  HostDevice host;
  EXPECT_EQ(through_a_store(GetParam(), host), plain);
  for (const auto pace : {FakeDevice::Pace::kLatest, FakeDevice::Pace::kCopiesEarly}) {
    for (const bool several_pieces : {false, true}) {
      FakeDevice device(pace);
      EXPECT_EQ(through_a_store(GetParam(), device, several_pieces), plain)
          << "pace " << static_cast<int>(pace) << ", pieces " << several_pieces;
    }
  }
}

TEST_P(Stores, TakeTheMemoryOfBothSidesThatTheBuffersSay) {
  FakeDevice device(FakeDevice::Pace::kLatest);
  const FlatLayout layout = make_layout();
  const EngineBuffers buffers = engine_buffers(
      make_config(GetParam()), layout, {{false, false}, {}}, kRanks, runtime::DeviceMemory::kOwn);
  runtime::MemoryLedger::process().restart();
  runtime::MemoryLedger::device().restart();
  const StateStore store(device, layout, buffers, zero_policy(3));
  using runtime::MemoryClass;
  const runtime::MemoryUse on_device = runtime::MemoryLedger::device().current(),
                           on_host = runtime::MemoryLedger::process().current();
  for (const MemoryClass kind : {MemoryClass::kMaster, runtime::optimizer_state_class(0),
                                 runtime::optimizer_state_class(1), MemoryClass::kOffloadStaging}) {
    EXPECT_EQ(on_device[kind], buffers.use()[kind]) << runtime::memory_class_name(kind);
    EXPECT_EQ(on_host[kind], buffers.host_use()[kind]) << runtime::memory_class_name(kind);
  }
  EXPECT_EQ(on_host[MemoryClass::kParameters], buffers.host_use()[MemoryClass::kParameters]);
  EXPECT_EQ(device.bytes(Place::kDevice), on_device.total());
  EXPECT_EQ(device.bytes(Place::kHost),
            buffers.host_use().total() -
                buffers.host_use()[MemoryClass::kCommunication]);  // outcomes are the engine's
}

INSTANTIATE_TEST_SUITE_P(Offload, Stores, testing::ValuesIn(cases()),
                         [](const auto& p) { return p.param.name(); });

TEST_P(Stores, NeedEveryWait) {
  FakeDevice device(FakeDevice::Pace::kLatest);
  (void)through_a_store(GetParam(), device);
  const th_test::AccessOrder& order = device.streams().order();
  EXPECT_EQ(order.violations(), std::vector<std::string>{});
  const bool states = GetParam().dtype != ElementType::kFp32 ||
                      !runtime::optimizer_states(GetParam().optimizer).empty();
  EXPECT_EQ(order.waits() > 0,
            (GetParam().optimizer_on_host && states) || GetParam().parameters_on_host);
  for (std::int64_t number = 0; number < order.waits(); ++number) {
    EXPECT_FALSE(order.violations_without(number).empty())
        << "wait " << number << " of " << order.waits()
        << " guarantees nothing: " << order.wait_text(number);
  }
}

TEST(StateStore, AWaitThatIsReallyLeftOutGivesOtherBits) {
  for (const bool optimizer : {false, true}) {
    const Case c{ElementType::kFp32,
                 config::ReduceDtype::kFp32,
                 config::OptimizerKind::kAdam,
                 optimizer,
                 !optimizer,
                 3};
    const Outcome plain = expected(c);
    FakeDevice whole(FakeDevice::Pace::kLatest);
    (void)through_a_store(c, whole);
    std::int64_t other_bits = 0;
    for (const auto pace : {FakeDevice::Pace::kLatest, FakeDevice::Pace::kCopiesEarly}) {
      for (std::int64_t number = 0; number < whole.streams().order().waits(); ++number) {
        FakeDevice device(pace);
        device.streams().leave_out(number);
        other_bits += through_a_store(c, device) != plain ? 1 : 0;
      }
    }
    EXPECT_GT(other_bits, 0) << "optimizer on the host " << optimizer;
  }
}

TEST(StateStore, AnUpdateMovesWhatTheOtherSideNeedsAndNoMore) {
  // Bytes an element and step, to the host and to the device: gradients go down, new parameters up;
  // fp32 weights that live on the device go both ways.
  const auto traffic = [](const Case& c) {
    FakeDevice device(FakeDevice::Pace::kLatest);
    const FlatLayout layout = make_layout();
    const EngineBuffers buffers = engine_buffers(make_config(c), layout, {{false, false}, {}},
                                                 kRanks, runtime::DeviceMemory::kOwn);
    StateStore store(device, layout, buffers, zero_policy(3));
    const DeviceBlock gradients(device, Place::kDevice, layout.shard_total() * 4),
        parameters(device, Place::kDevice, layout.shard_total() * 4);
    const std::int64_t count = layout.units()[0].shard;
    const StateStore::Slice slice{0, 0, count, gradients.data(),
                                  c.parameters_on_host ? nullptr : parameters.data()};
    store.bring(slice, device.compute().record(), std::make_shared<runtime::FlightRecord>());
    store.announce(slice);
    store.update_next(update_factors(step_number(make_config(c), 1)));
    device.compute().wait(store.updated());
    device.compute().drain();
    return std::pair(device.copied_to_host() / count, device.copied_to_device() / count);
  };
  using Pair = std::pair<std::int64_t, std::int64_t>;
  const auto with = [](ElementType dtype, config::ReduceDtype reduced, bool optimizer,
                       bool parameters) {
    return Case{dtype, reduced, config::OptimizerKind::kAdam, optimizer, parameters, 3};
  };
  using config::ReduceDtype;
  EXPECT_EQ(traffic(with(ElementType::kBf16, ReduceDtype::kFp32, false, false)), Pair(0, 0));
  EXPECT_EQ(traffic(with(ElementType::kBf16, ReduceDtype::kFp32, true, false)), Pair(4, 2));
  EXPECT_EQ(traffic(with(ElementType::kBf16, ReduceDtype::kWorking, true, false)), Pair(2, 2));
  EXPECT_EQ(traffic(with(ElementType::kBf16, ReduceDtype::kFp32, true, true)), Pair(4, 0));
  EXPECT_EQ(traffic(with(ElementType::kBf16, ReduceDtype::kFp32, false, true)), Pair(2, 0));
  EXPECT_EQ(traffic(with(ElementType::kFp32, ReduceDtype::kFp32, true, false)), Pair(8, 4));
  EXPECT_EQ(traffic(with(ElementType::kFp32, ReduceDtype::kFp32, true, true)), Pair(4, 0));
  EXPECT_EQ(traffic(with(ElementType::kFp32, ReduceDtype::kFp32, false, true)), Pair(4, 4));
}

TEST(StateStore, CopiesOfTheNextPiecesAreUnderWayBeforeAPieceIsComputed) {
  FakeDevice device(FakeDevice::Pace::kCopiesEarly);
  const FlatLayout layout = make_layout();
  EngineBuffers buffers = engine_buffers(make_config({.optimizer_on_host = true}), layout,
                                         {{false, false}, {}}, kRanks, runtime::DeviceMemory::kOwn);
  buffers.staging.piece = kPiece;
  StateStore store(device, layout, buffers, zero_policy(3));
  const std::int64_t shard = layout.units()[1].shard, whole = layout.shard_total();
  const DeviceBlock gradients(device, Place::kDevice, whole * 4),
      parameters(device, Place::kDevice, whole * 4);
  device.compute().drain();
  const auto slice = [&](std::int64_t unit, std::int64_t at, std::int64_t n) {
    return StateStore::Slice{unit, 0, n, gradients.as<float>() + at, parameters.as<float>() + at};
  };
  const auto flight = std::make_shared<runtime::FlightRecord>();
  store.bring(slice(1, 0, shard), device.compute().record(), flight);
  store.bring(slice(0, shard, whole - shard), device.compute().record(), flight);
  const std::int64_t element = 4, gradients_bytes = 4 * whole;  // a weight
  store.announce(slice(1, 0, shard));                           // one piece
  const auto copied = [&] {
    device.compute().drain();
    return device.copied_to_host();
  };
  EXPECT_EQ(copied(), gradients_bytes + element * shard)
      << "gradients come before anything is announced";
  store.announce(slice(0, shard, whole - shard));  // three pieces, of which one finds a place
  EXPECT_EQ(copied(), gradients_bytes + element * (shard + kPiece))
      << "the next unit's first piece comes before the first unit is computed";
  store.update_next(update_factors(step_number(make_config({}), 1)));
  EXPECT_EQ(copied(), gradients_bytes + element * (shard + 2 * kPiece))
      << "each update makes room for a piece";
  store.update_next(update_factors(step_number(make_config({}), 1)));
  EXPECT_EQ(copied(), gradients_bytes + element * whole);
}

TEST(StateStore, AnUpdateOnTheHostOfGradientsThatDidNotComeIsRefused) {
  FakeDevice device(FakeDevice::Pace::kLatest);
  const FlatLayout layout = make_layout();
  const EngineBuffers buffers =
      engine_buffers(make_config({.optimizer_on_host = true}), layout, {{false, false}, {}}, kRanks,
                     runtime::DeviceMemory::kOwn);
  StateStore store(device, layout, buffers, zero_policy(3));
  const DeviceBlock memory(device, Place::kDevice, layout.shard_total() * 4);
  const StateStore::Slice slice{0, 0, layout.units()[0].shard, memory.data(), memory.data()};
  EXPECT_THROW(store.announce(slice), InternalError);
  store.bring(slice, device.compute().record(), std::make_shared<runtime::FlightRecord>());
  EXPECT_NO_THROW(store.announce(slice));
  store.update_next(update_factors(step_number(make_config({}), 1)));
  EXPECT_THROW(store.announce(slice), InternalError) << "each step anew";
}

TEST(StateStore, AnUpdateThatNobodyAnnouncedIsRefused) {
  HostDevice host;
  const FlatLayout layout = make_layout();
  StateStore store(host, layout,
                   engine_buffers(make_config({}), layout, {{false, false}, {}}, kRanks),
                   zero_policy(3));
  EXPECT_THROW(store.update_next({}), InternalError);
}

TEST(FakeDevice, ItsMemoryIsOutOfTheHostsReach) {
  FakeDevice device(FakeDevice::Pace::kLatest);
  const DeviceBlock block(device, Place::kDevice, 64);
  device.compute().drain();
  EXPECT_DEATH(*block.data() = std::byte{1}, "");
  const FakeDevice::Kernel kernel(device);
  *block.data() = std::byte{1};
}

}  // namespace
}  // namespace th::zero
