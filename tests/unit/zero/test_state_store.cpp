#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <vector>

#include "fakes/fake_device.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/runtime/memory_ledger.hpp"
#include "th/zero/host_device.hpp"
#include "th/zero/state_store.hpp"

namespace th::zero {
namespace {

using runtime::DeviceBlock;
using runtime::Place;
using th_test::FakeDevice;
using Bytes = std::vector<std::byte>;

constexpr std::int64_t kSteps = 3, kRanks = 2, kPiece = 512;

struct Case {
  config::Precision dtype = config::Precision::kFp32;
  config::ReduceDtype reduced = config::ReduceDtype::kFp32;
  config::OptimizerKind optimizer = config::OptimizerKind::kAdam;
  bool optimizer_on_host = false, parameters_on_host = false;
  std::int64_t stage = 3;

  [[nodiscard]] std::string name() const {
    const char* const types[] = {"fp32", "bf16", "fp16"};
    std::string out = types[static_cast<std::size_t>(dtype)];
    if (reduced == config::ReduceDtype::kWorking) out += "_reduced_short";
    if (optimizer == config::OptimizerKind::kSgd) out += "_sgd";
    if (optimizer_on_host) out += "_optimizer";
    if (parameters_on_host) out += "_parameters";
    return out + "_stage" + std::to_string(stage);
  }
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const bool optimizer : {false, true}) {
    for (const bool parameters : {false, true}) {
      for (const std::int64_t stage : {1, 3}) {
        if (parameters && stage != 3) continue;
        for (const auto kind : {config::OptimizerKind::kAdam, config::OptimizerKind::kSgd}) {
          out.push_back({config::Precision::kFp32, config::ReduceDtype::kFp32, kind, optimizer, parameters, stage});
          out.push_back({config::Precision::kBf16, config::ReduceDtype::kFp32, kind, optimizer, parameters, stage});
          out.push_back({config::Precision::kFp16, config::ReduceDtype::kWorking, kind, optimizer, parameters, stage});
        }
      }
    }
  }
  return out;
}

/// Two units, of which a rank's shards are 1280 and 256 elements: three pieces, and one.
FlatLayout make_layout() { return FlatLayout({{"a", {{"a.weight", {2500}}}}, {"b", {{"b.weight", {300}}}}}, kRanks); }

config::RunConfig make_config(const Case& c) {
  config::RunConfig config;
  config.optimizer.name = c.optimizer;
  config.optimizer.weight_decay = 0.01;
  config.precision.dtype = c.dtype;
  config.precision.reduce_dtype = c.reduced;
  config.zero = {c.stage, c.optimizer_on_host, c.parameters_on_host};
  return config;
}

std::vector<float> values(std::uint64_t seed, std::int64_t count) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<float>(hash_pair(seed, static_cast<std::uint64_t>(i)) >> 40) * 0x1p-24F - 0.5F);
  return out;
}

Bytes in_type(const std::vector<float>& x, config::Precision type) {
  Bytes out(x.size() * static_cast<std::size_t>(element_bytes(type)));
  if (type == config::Precision::kFp32) {
    std::memcpy(out.data(), x.data(), out.size());
  } else {
    round_elements(x.data(), element_type(type), out.data(), std::ssize(x));
  }
  return out;
}

OptimizerStep step_number(const config::RunConfig& config, std::int64_t step) { return {config.optimizer, 1e-2, 0.5, step}; }

/// What a training run sees and keeps, as bytes: weights and moments at the end, and of every step the parameters that its forward pass read.
using Outcome = std::vector<Bytes>;

/// The plain way: arrays and the optimizer.
Outcome expected(const Case& c) {
  const FlatLayout layout = make_layout();
  const config::RunConfig config = make_config(c);
  const BufferTypes types = buffer_types(config);
  std::vector<float> weights = values(1, layout.shard_total()), first(weights.size()), second(weights.size());
  Outcome out;
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    const Bytes parameters = in_type(weights, types.working);
    for (const FlatLayout::Unit& u : layout.units()) {
      const auto at = parameters.begin() + u.shard_offset * element_bytes(types.working);
      out.emplace_back(at, at + u.shard * element_bytes(types.working));
    }
    const Bytes gradients = in_type(values(100 + static_cast<std::uint64_t>(step), layout.shard_total()), types.reduced);
    apply_update(update_factors(step_number(config, step)), {weights.data(), gradients.data(), first.data(), second.data(), nullptr,
                                                             layout.shard_total(), element_type(types.reduced)});
  }
  for (const std::vector<float>* state : {&weights, &first, &second}) {
    if (state != &weights && c.optimizer == config::OptimizerKind::kSgd) continue;
    out.push_back(in_type(*state, config::Precision::kFp32));
  }
  return out;
}

/// The same steps through a store. Nobody waits between what is enqueued: parameters are read, gradients made and updates asked for as the engine does.
[[gnu::noinline]] Outcome through_a_store(const Case& c, runtime::Device& device, bool several_pieces = true) {
  const FlatLayout layout = make_layout();
  const config::RunConfig config = make_config(c);
  EngineBuffers buffers =
      engine_buffers(config, layout, {false, false}, kRanks, device.is_host() ? DeviceMemory::kHost : DeviceMemory::kOwn);
  if (several_pieces && buffers.staging.piece > 0) buffers.staging.piece = kPiece;
  const BufferTypes types = buffers.types;
  const std::int64_t working = element_bytes(types.working), reduced = element_bytes(types.reduced);
  StateStore store(device, layout, buffers, true);
  const std::int64_t held = buffers.parameters_on_host ? 0 : layout.shard_total() * working;
  const DeviceBlock parameters(device, Place::kDevice, held), gradients(device, Place::kDevice, layout.shard_total() * reduced);
  const DeviceBlock made(device, Place::kHost, kSteps * layout.shard_total() * reduced);   // what backward passes will have made
  const DeviceBlock seen(device, Place::kDevice, kSteps * layout.shard_total() * working);  // what forward passes have read
  const auto slice = [&](std::int64_t unit) {
    const FlatLayout::Unit& u = layout.units()[static_cast<std::size_t>(unit)];
    void* mine = buffers.parameters_on_host ? nullptr : parameters.data() + u.shard_offset * working;
    return StateStore::Slice{unit, 0, u.shard, gradients.data() + u.shard_offset * reduced, mine};
  };
  const DeviceBlock initial(device, Place::kHost, layout.shard_total() * 4);
  std::memcpy(initial.data(), values(1, layout.shard_total()).data(), static_cast<std::size_t>(initial.bytes()));
  for (std::int64_t u = 0; u < 2; ++u) {
    const FlatLayout::Unit& unit = layout.units()[static_cast<std::size_t>(u)];
    device.compute().copy(store.at(State::kParameters, slice(u)), initial.data() + unit.shard_offset * 4, unit.shard * 4);
    store.publish(slice(u));
  }
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    const Bytes next = in_type(values(100 + static_cast<std::uint64_t>(step), layout.shard_total()), types.reduced);
    std::memcpy(made.data() + (step - 1) * layout.shard_total() * reduced, next.data(), next.size());
  }
  runtime::DeviceQueue& compute = device.compute();
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    for (std::int64_t u = 0; u < 2; ++u) {
      const FlatLayout::Unit& unit = layout.units()[static_cast<std::size_t>(u)];
      const void* from = buffers.parameters_on_host ? store.parameters(u) : slice(u).parameters;
      compute.copy(seen.data() + ((step - 1) * layout.shard_total() + unit.shard_offset) * working, from, unit.shard * working);
    }
    compute.copy(gradients.data(), made.data() + (step - 1) * layout.shard_total() * reduced, layout.shard_total() * reduced);
    for (std::int64_t u = 0; u < 2; ++u) store.announce(slice(u));
    for (std::int64_t u = 0; u < 2; ++u) store.update_next(update_factors(step_number(config, step)));
  }
  Outcome out;
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    for (const FlatLayout::Unit& unit : layout.units()) {
      out.emplace_back(static_cast<std::size_t>(unit.shard * working));
      runtime::copy_now(device, out.back().data(), seen.data() + ((step - 1) * layout.shard_total() + unit.shard_offset) * working,
                        unit.shard * working);
    }
  }
  for (const State state : {State::kParameters, State::kExpAvg, State::kExpAvgSq}) {
    if (state != State::kParameters && c.optimizer == config::OptimizerKind::kSgd) continue;
    out.emplace_back();
    for (std::int64_t u = 0; u < 2; ++u) {
      Bytes part(static_cast<std::size_t>(slice(u).count * 4));
      runtime::copy_now(device, part.data(), store.at(state, slice(u)), std::ssize(part));
      out.back().insert(out.back().end(), part.begin(), part.end());
    }
  }
  return out;
}

class Stores : public testing::TestWithParam<Case> {};

TEST_P(Stores, UpdateToTheSameBitsWhereverTheStatesLive) {
  const Outcome plain = expected(GetParam());
  HostDevice host;
  EXPECT_EQ(through_a_store(GetParam(), host), plain);
  for (const auto order : {FakeDevice::Order::kLate, FakeDevice::Order::kCopiesEarly}) {
    for (const bool several_pieces : {false, true}) {
      FakeDevice device(order);
      EXPECT_EQ(through_a_store(GetParam(), device, several_pieces), plain) << "order " << static_cast<int>(order) << ", pieces " << several_pieces;
    }
  }
}

TEST_P(Stores, TakeTheMemoryOfBothSidesThatTheBuffersSay) {
  FakeDevice device(FakeDevice::Order::kLate);
  const FlatLayout layout = make_layout();
  const EngineBuffers buffers = engine_buffers(make_config(GetParam()), layout, {false, false}, kRanks, DeviceMemory::kOwn);
  runtime::MemoryLedger::process().restart();
  runtime::MemoryLedger::device().restart();
  const StateStore store(device, layout, buffers, true);
  using runtime::MemoryClass;
  const runtime::MemoryUse on_device = runtime::MemoryLedger::device().current(), on_host = runtime::MemoryLedger::process().current();
  for (const MemoryClass kind : {MemoryClass::kMaster, MemoryClass::kExpAvg, MemoryClass::kExpAvgSq, MemoryClass::kOffloadStaging}) {
    EXPECT_EQ(on_device[kind], buffers.use()[kind]) << runtime::memory_class_name(kind);
    EXPECT_EQ(on_host[kind], buffers.host_use()[kind]) << runtime::memory_class_name(kind);
  }
  EXPECT_EQ(on_host[MemoryClass::kParameters], buffers.host_use()[MemoryClass::kParameters]);
  EXPECT_EQ(device.bytes(Place::kDevice), on_device.total());
  EXPECT_EQ(device.bytes(Place::kHost), buffers.host_use().total());
}

INSTANTIATE_TEST_SUITE_P(Offload, Stores, testing::ValuesIn(cases()), [](const auto& p) { return p.param.name(); });

TEST(StateStore, EveryKindOfWaitIsNeeded) {
  using Wait = FakeDevice::Wait;
  for (const Wait kind : {Wait::kHostForEvent, Wait::kComputeForEvent, Wait::kCopiesForEvent}) {
    for (const bool optimizer : {false, true}) {
      if (!optimizer && kind == Wait::kHostForEvent) continue;  // the device waits there
      int seen = 0;
      for (const Case& c : cases()) {
        if (c.optimizer_on_host != optimizer) continue;
        for (const auto order : {FakeDevice::Order::kLate, FakeDevice::Order::kCopiesEarly}) {
          FakeDevice device(order);
          device.leave_out(kind);
          seen += through_a_store(c, device) != expected(c) ? 1 : 0;
        }
      }
      EXPECT_GT(seen, 0) << "kind " << static_cast<int>(kind) << ", optimizer on the host " << optimizer;
    }
  }
}

TEST(StateStore, AnUpdateMovesWhatTheOtherSideNeedsAndNoMore) {
  // Bytes an element and step, to the host and to the device: gradients go down, new parameters up; fp32 weights that live on the device go both ways.
  const auto traffic = [](const Case& c) {
    FakeDevice device(FakeDevice::Order::kLate);
    const FlatLayout layout = make_layout();
    const EngineBuffers buffers = engine_buffers(make_config(c), layout, {false, false}, kRanks, DeviceMemory::kOwn);
    StateStore store(device, layout, buffers, true);
    const DeviceBlock gradients(device, Place::kDevice, layout.shard_total() * 4), parameters(device, Place::kDevice, layout.shard_total() * 4);
    const std::int64_t count = layout.units()[0].shard;
    store.announce({0, 0, count, gradients.data(), c.parameters_on_host ? nullptr : parameters.data()});
    store.update_next(update_factors(step_number(make_config(c), 1)));
    device.compute().synchronize();
    return std::pair(device.copied_to_host() / count, device.copied_to_device() / count);
  };
  using Pair = std::pair<std::int64_t, std::int64_t>;
  const auto with = [](config::Precision dtype, config::ReduceDtype reduced, bool optimizer, bool parameters) {
    return Case{dtype, reduced, config::OptimizerKind::kAdam, optimizer, parameters, 3};
  };
  using config::Precision;
  using config::ReduceDtype;
  EXPECT_EQ(traffic(with(Precision::kBf16, ReduceDtype::kFp32, false, false)), Pair(0, 0));
  EXPECT_EQ(traffic(with(Precision::kBf16, ReduceDtype::kFp32, true, false)), Pair(4, 2));
  EXPECT_EQ(traffic(with(Precision::kBf16, ReduceDtype::kWorking, true, false)), Pair(2, 2));
  EXPECT_EQ(traffic(with(Precision::kBf16, ReduceDtype::kFp32, true, true)), Pair(4, 0));
  EXPECT_EQ(traffic(with(Precision::kBf16, ReduceDtype::kFp32, false, true)), Pair(2, 0));
  EXPECT_EQ(traffic(with(Precision::kFp32, ReduceDtype::kFp32, true, false)), Pair(8, 4));
  EXPECT_EQ(traffic(with(Precision::kFp32, ReduceDtype::kFp32, true, true)), Pair(4, 0));
  EXPECT_EQ(traffic(with(Precision::kFp32, ReduceDtype::kFp32, false, true)), Pair(4, 4));
}

TEST(StateStore, CopiesOfTheNextPiecesAreUnderWayBeforeAPieceIsComputed) {
  FakeDevice device(FakeDevice::Order::kCopiesEarly);
  const FlatLayout layout = make_layout();
  EngineBuffers buffers = engine_buffers(make_config({.optimizer_on_host = true}), layout, {false, false}, kRanks, DeviceMemory::kOwn);
  buffers.staging.piece = kPiece;
  StateStore store(device, layout, buffers, true);
  const std::int64_t shard = layout.units()[1].shard, whole = layout.shard_total();
  const DeviceBlock gradients(device, Place::kDevice, whole * 4), parameters(device, Place::kDevice, whole * 4);
  device.compute().synchronize();
  const auto slice = [&](std::int64_t unit, std::int64_t at, std::int64_t n) {
    return StateStore::Slice{unit, 0, n, gradients.as<float>() + at, parameters.as<float>() + at};
  };
  const std::int64_t element = 8;  // a gradient and a weight
  store.announce(slice(1, 0, shard));  // one piece
  const auto copied = [&] {
    device.compute().synchronize();
    return device.copied_to_host();
  };
  EXPECT_EQ(copied(), element * shard);
  store.announce(slice(0, shard, whole - shard));  // three pieces, of which one finds a place
  EXPECT_EQ(copied(), element * (shard + kPiece)) << "the next unit's first piece comes before the first unit is computed";
  store.update_next(update_factors(step_number(make_config({}), 1)));
  EXPECT_EQ(copied(), element * (shard + 2 * kPiece)) << "each update makes room for a piece";
  store.update_next(update_factors(step_number(make_config({}), 1)));
  EXPECT_EQ(copied(), element * whole);
}

TEST(StateStore, AnUpdateThatNobodyAnnouncedIsRefused) {
  HostDevice host;
  const FlatLayout layout = make_layout();
  StateStore store(host, layout, engine_buffers(make_config({}), layout, {false, false}, kRanks), true);
  EXPECT_THROW(store.update_next({}), InternalError);
}

TEST(FakeDevice, ItsMemoryIsOutOfTheHostsReach) {
  FakeDevice device(FakeDevice::Order::kLate);
  const DeviceBlock block(device, Place::kDevice, 64);
  device.compute().synchronize();
  EXPECT_DEATH(*block.data() = std::byte{1}, "");
  const FakeDevice::Kernel kernel(device);
  *block.data() = std::byte{1};
}

}  // namespace
}  // namespace th::zero
