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
  th::ElementType dtype = th::ElementType::kFp32;
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
          out.push_back({th::ElementType::kFp32, config::ReduceDtype::kFp32, kind, optimizer,
                         parameters, stage});
          out.push_back({th::ElementType::kBf16, config::ReduceDtype::kFp32, kind, optimizer,
                         parameters, stage});
          out.push_back({th::ElementType::kFp16, config::ReduceDtype::kWorking, kind, optimizer,
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

inline Bytes in_type(const std::vector<float>& x, th::ElementType type) {
  Bytes out(x.size() * static_cast<std::size_t>(element_size(type)));
  if (type == th::ElementType::kFp32) {
    std::memcpy(out.data(), x.data(), out.size());
  } else {
    round_elements(x.data(), type, out.data(), std::ssize(x));
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
      const auto at = parameters.begin() + u.shard_offset * element_size(types.working);
      out.emplace_back(at, at + u.shard * element_size(types.working));
    }
    if (step > kSteps) break;
    const Bytes gradients = in_type(
        values(100 + static_cast<std::uint64_t>(step), layout.shard_total()), types.reduced);
    runtime::UpdateOperands operands{.weights = weights.data(),
                                     .gradients = gradients.data(),
                                     .count = layout.shard_total(),
                                     .gradient_type = types.reduced};
    for (std::size_t s = 0; s < states.size(); ++s) operands.states[s] = states[s].data();
    apply_update(update_factors(step_number(config, step)), operands);
  }
  out.push_back(in_type(weights, th::ElementType::kFp32));
  for (const std::vector<float>& state : states)
    out.push_back(in_type(state, th::ElementType::kFp32));
  return out;
}

/// A store and the memory that a training run has around it.
class StoreRun {
 public:
  StoreRun(const Case& c, runtime::Device& device, bool several_pieces)
      : case_(c),
        device_(device),
        several_pieces_(several_pieces),
        store_(device, layout_, buffers_, zero_policy(c.stage)) {}

  void set_initial() {
    std::memcpy(initial_.data(), values(1, shard_total()).data(),
                static_cast<std::size_t>(initial_.bytes()));
    for (std::int64_t u = 0; u < 2; ++u) {
      runtime::copy_now(device_, store_.at(State::kParameters, slice(u)),
                        initial_.data() + unit(u).shard_offset * 4, unit(u).shard * 4);
      store_.publish(slice(u));
    }
  }

  /// Nobody waits between what is enqueued: parameters are read, gradients made and updates asked
  /// for as the engine does.
  void train() {
    for (std::int64_t step = 1; step <= kSteps; ++step) {
      const Bytes next = in_type(values(100 + static_cast<std::uint64_t>(step), shard_total()),
                                 buffers_.types.reduced);
      std::memcpy(made_.data() + (step - 1) * shard_total() * reduced_, next.data(), next.size());
    }
    runtime::Stream& compute = device_.compute();
    const auto flight = std::make_shared<runtime::FlightRecord>();
    for (std::int64_t step = 1; step <= kSteps + 1; ++step) {
      for (std::int64_t u = 0; u < 2; ++u) {
        const void* from = buffers_.parameters_on_host ? store_.parameters(u) : slice(u).parameters;
        compute.copy(seen(step, unit(u)), from, unit(u).shard * working_);
      }
      if (step > kSteps) break;
      compute.copy(gradients_.data(), made_.data() + (step - 1) * shard_total() * reduced_,
                   shard_total() * reduced_);
      for (std::int64_t u = 0; u < 2; ++u) store_.bring(slice(u), compute.record(), flight);
      for (std::int64_t u = 0; u < 2; ++u) store_.announce(slice(u));
      for (std::int64_t u = 0; u < 2; ++u)
        store_.update_next(update_factors(step_number(config_, step)));
      compute.wait(store_.updated());
    }
  }

  [[nodiscard]] Outcome outcome() {
    Outcome out;
    for (std::int64_t step = 1; step <= kSteps + 1; ++step) {
      for (const FlatLayout::Unit& u : layout_.units()) {
        out.emplace_back(static_cast<std::size_t>(u.shard * working_));
        runtime::copy_now(device_, out.back().data(), seen(step, u), u.shard * working_);
      }
    }
    std::vector<State> states{State::kParameters};
    for (std::size_t s = 0; s < buffers_.states; ++s) states.push_back(optimizer_state(s));
    for (const State state : states) {
      out.emplace_back();
      for (std::int64_t u = 0; u < 2; ++u) {
        Bytes part(static_cast<std::size_t>(slice(u).count * 4));
        runtime::copy_now(device_, part.data(), store_.at(state, slice(u)), std::ssize(part));
        out.back().insert(out.back().end(), part.begin(), part.end());
      }
    }
    return out;
  }

 private:
  [[nodiscard]] EngineBuffers make_buffers() const {
    EngineBuffers buffers =
        engine_buffers(config_, layout_, {{false, false}, {}}, kRanks, device_.memory());
    if (several_pieces_ && buffers.staging.piece > 0) buffers.staging.piece = kPiece;
    return buffers;
  }
  [[nodiscard]] std::int64_t shard_total() const { return layout_.shard_total(); }
  [[nodiscard]] const FlatLayout::Unit& unit(std::int64_t u) const {
    return layout_.units()[static_cast<std::size_t>(u)];
  }
  [[nodiscard]] StateStore::Slice slice(std::int64_t u) const {
    void* mine = buffers_.parameters_on_host ? nullptr
                                             : parameters_.data() + unit(u).shard_offset * working_;
    return StateStore::Slice{u, 0, unit(u).shard,
                             gradients_.data() + unit(u).shard_offset * reduced_, mine};
  }
  /// Where the parameters of a unit lie that a step's forward pass has read.
  [[nodiscard]] std::byte* seen(std::int64_t step, const FlatLayout::Unit& of) const {
    return seen_.data() + ((step - 1) * shard_total() + of.shard_offset) * working_;
  }

  const Case& case_;
  runtime::Device& device_;
  const bool several_pieces_;
  const FlatLayout layout_ = make_layout();
  const config::RunConfig config_ = make_config(case_);
  const EngineBuffers buffers_ = make_buffers();
  const std::int64_t working_ = element_size(buffers_.types.working);
  const std::int64_t reduced_ = element_size(buffers_.types.reduced);
  StateStore store_;
  const DeviceBlock parameters_{device_, Place::kDevice,
                                buffers_.parameters_on_host ? 0 : shard_total() * working_};
  const DeviceBlock gradients_{device_, Place::kDevice, shard_total() * reduced_};
  /// What the backward passes of all steps will have made.
  const std::int64_t made_bytes_ = kSteps * shard_total() * reduced_;
  const DeviceBlock made_{device_, Place::kHost, made_bytes_};
  /// What the forward passes have read.
  const DeviceBlock seen_{device_, Place::kDevice, (kSteps + 1) * shard_total() * working_};
  const DeviceBlock initial_{device_, Place::kHost, shard_total() * 4};
};

/// The same steps through a store.
[[gnu::noinline]] inline Outcome through_a_store(const Case& c, runtime::Device& device,
                                                 bool several_pieces = true) {
  StoreRun run(c, device, several_pieces);
  run.set_initial();
  run.train();
  return run.outcome();
}

}  // namespace th_test::store
