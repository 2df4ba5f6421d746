#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "th/base/hash.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/state_store.hpp"

/// Training steps through a StateStore on any device, and by hand: what the store's tests compare.
namespace th_test::store {

using namespace th::zero;
namespace config = th::config;
namespace runtime = th::runtime;
using runtime::DeviceBlock;
using runtime::Place;
using Bytes = std::vector<std::byte>;

inline constexpr std::int64_t kSteps = 3, kRanks = 2, kPiece = 512;

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
    if (optimizer != config::OptimizerKind::kAdam)
      out += std::string("_") + runtime::optimizer_name(optimizer);
    if (optimizer_on_host) out += "_optimizer";
    if (parameters_on_host) out += "_parameters";
    return out + "_stage" + std::to_string(stage);
  }
};

inline std::vector<Case> cases() {
  std::vector<Case> out;
  for (const bool optimizer : {false, true}) {
    for (const bool parameters : {false, true}) {
      for (const std::int64_t stage : {1, 3}) {
        if (parameters && stage != 3) continue;
        for (const auto kind : {config::OptimizerKind::kAdam, config::OptimizerKind::kSgd}) {
          out.push_back({config::Precision::kFp32, config::ReduceDtype::kFp32, kind, optimizer,
                         parameters, stage});
          out.push_back({config::Precision::kBf16, config::ReduceDtype::kFp32, kind, optimizer,
                         parameters, stage});
          out.push_back({config::Precision::kFp16, config::ReduceDtype::kWorking, kind, optimizer,
                         parameters, stage});
        }
      }
    }
  }
  return out;
}

/// Two units, of which a rank's shards are 1280 and 256 elements: three pieces, and one.
inline FlatLayout make_layout() {
  return FlatLayout({{"a", {{"a.weight", {2500}}}}, {"b", {{"b.weight", {300}}}}}, kRanks);
}

inline config::RunConfig make_config(const Case& c) {
  config::RunConfig config;
  config.optimizer.name = c.optimizer;
  config.optimizer.weight_decay = 0.01;
  config.precision.dtype = c.dtype;
  config.precision.reduce_dtype = c.reduced;
  config.zero = {c.stage, c.optimizer_on_host, c.parameters_on_host};
  return config;
}

inline std::vector<float> values(std::uint64_t seed, std::int64_t count) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(static_cast<float>(th::hash_pair(seed, static_cast<std::uint64_t>(i)) >> 40) *
                      0x1p-24F -
                  0.5F);
  return out;
}

inline Bytes in_type(const std::vector<float>& x, config::Precision type) {
  Bytes out(x.size() * static_cast<std::size_t>(element_bytes(type)));
  if (type == config::Precision::kFp32) {
    std::memcpy(out.data(), x.data(), out.size());
  } else {
    round_elements(x.data(), element_type(type), out.data(), std::ssize(x));
  }
  return out;
}

inline OptimizerStep step_number(const config::RunConfig& config, std::int64_t step) {
  return {config.optimizer, 1e-2, 0.5, step};
}

/// What a training run sees and keeps, as bytes: weights and the optimizer's states at the end, and
/// of every step the parameters that its forward pass read, with those of one more.
using Outcome = std::vector<Bytes>;

/// The plain way: arrays and the optimizer.
inline Outcome expected(const Case& c) {
  const FlatLayout layout = make_layout();
  const config::RunConfig config = make_config(c);
  const BufferTypes types = buffer_types(config);
  std::vector<float> weights = values(1, layout.shard_total());
  std::vector<std::vector<float>> states(runtime::optimizer_states(c.optimizer).size(),
                                         std::vector<float>(weights.size()));
  Outcome out;
  for (std::int64_t step = 1; step <= kSteps + 1; ++step) {
    const Bytes parameters = in_type(weights, types.working);
    for (const FlatLayout::Unit& u : layout.units()) {
      const auto at = parameters.begin() + u.shard_offset * element_bytes(types.working);
      out.emplace_back(at, at + u.shard * element_bytes(types.working));
    }
    if (step > kSteps) break;
    const Bytes gradients = in_type(
        values(100 + static_cast<std::uint64_t>(step), layout.shard_total()), types.reduced);
    runtime::UpdateOperands operands{.weights = weights.data(),
                                     .gradients = gradients.data(),
                                     .count = layout.shard_total(),
                                     .gradient_type = element_type(types.reduced)};
    for (std::size_t s = 0; s < states.size(); ++s) operands.states[s] = states[s].data();
    apply_update(update_factors(step_number(config, step)), operands);
  }
  out.push_back(in_type(weights, config::Precision::kFp32));
  for (const std::vector<float>& state : states)
    out.push_back(in_type(state, config::Precision::kFp32));
  return out;
}

/// The same steps through a store. Nobody waits between what is enqueued: parameters are read,
/// gradients made and updates asked for as the engine does.
[[gnu::noinline]] inline Outcome through_a_store(const Case& c, runtime::Device& device,
                                                 bool several_pieces = true) {
  const FlatLayout layout = make_layout();
  const config::RunConfig config = make_config(c);
  EngineBuffers buffers =
      engine_buffers(config, layout, {{false, false}, {}}, kRanks,
                     device.is_host() ? DeviceMemory::kHost : DeviceMemory::kOwn);
  if (several_pieces && buffers.staging.piece > 0) buffers.staging.piece = kPiece;
  const BufferTypes types = buffers.types;
  const std::int64_t working = element_bytes(types.working), reduced = element_bytes(types.reduced);
  StateStore store(device, layout, buffers, zero_policy(c.stage));
  const std::int64_t held = buffers.parameters_on_host ? 0 : layout.shard_total() * working;
  const DeviceBlock parameters(device, Place::kDevice, held),
      gradients(device, Place::kDevice, layout.shard_total() * reduced);
  const DeviceBlock made(
      device, Place::kHost,
      kSteps * layout.shard_total() * reduced);  // what backward passes will have made
  const DeviceBlock seen(
      device, Place::kDevice,
      (kSteps + 1) * layout.shard_total() * working);  // what forward passes have read
  const auto slice = [&](std::int64_t unit) {
    const FlatLayout::Unit& u = layout.units()[static_cast<std::size_t>(unit)];
    void* mine =
        buffers.parameters_on_host ? nullptr : parameters.data() + u.shard_offset * working;
    return StateStore::Slice{unit, 0, u.shard, gradients.data() + u.shard_offset * reduced, mine};
  };
  const DeviceBlock initial(device, Place::kHost, layout.shard_total() * 4);
  std::memcpy(initial.data(), values(1, layout.shard_total()).data(),
              static_cast<std::size_t>(initial.bytes()));
  for (std::int64_t u = 0; u < 2; ++u) {
    const FlatLayout::Unit& unit = layout.units()[static_cast<std::size_t>(u)];
    runtime::copy_now(device, store.at(State::kParameters, slice(u)),
                      initial.data() + unit.shard_offset * 4, unit.shard * 4);
    store.publish(slice(u));
  }
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    const Bytes next = in_type(values(100 + static_cast<std::uint64_t>(step), layout.shard_total()),
                               types.reduced);
    std::memcpy(made.data() + (step - 1) * layout.shard_total() * reduced, next.data(),
                next.size());
  }
  runtime::Stream& compute = device.compute();
  const auto flight = std::make_shared<runtime::FlightRecord>();
  for (std::int64_t step = 1; step <= kSteps + 1; ++step) {
    for (std::int64_t u = 0; u < 2; ++u) {
      const FlatLayout::Unit& unit = layout.units()[static_cast<std::size_t>(u)];
      const void* from = buffers.parameters_on_host ? store.parameters(u) : slice(u).parameters;
      compute.copy(seen.data() + ((step - 1) * layout.shard_total() + unit.shard_offset) * working,
                   from, unit.shard * working);
    }
    if (step > kSteps) break;
    compute.copy(gradients.data(), made.data() + (step - 1) * layout.shard_total() * reduced,
                 layout.shard_total() * reduced);
    for (std::int64_t u = 0; u < 2; ++u) store.bring(slice(u), compute.record(), flight);
    for (std::int64_t u = 0; u < 2; ++u) store.announce(slice(u));
    for (std::int64_t u = 0; u < 2; ++u)
      store.update_next(update_factors(step_number(config, step)));
    compute.wait(store.updated());
  }
  Outcome out;
  for (std::int64_t step = 1; step <= kSteps + 1; ++step) {
    for (const FlatLayout::Unit& unit : layout.units()) {
      out.emplace_back(static_cast<std::size_t>(unit.shard * working));
      runtime::copy_now(
          device, out.back().data(),
          seen.data() + ((step - 1) * layout.shard_total() + unit.shard_offset) * working,
          unit.shard * working);
    }
  }
  std::vector<State> states{State::kParameters};
  for (std::size_t s = 0; s < buffers.states; ++s) states.push_back(optimizer_state(s));
  for (const State state : states) {
    out.emplace_back();
    for (std::int64_t u = 0; u < 2; ++u) {
      Bytes part(static_cast<std::size_t>(slice(u).count * 4));
      runtime::copy_now(device, part.data(), store.at(state, slice(u)), std::ssize(part));
      out.back().insert(out.back().end(), part.begin(), part.end());
    }
  }
  return out;
}

}  // namespace th_test::store
