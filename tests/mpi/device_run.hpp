#pragma once

#include "fakes/fake_transport.hpp"
#include "small_run.hpp"

namespace th_test {

/// A small run on a fake device, whose memory the host reaches while the model computes alone.
struct DeviceRun {
  DeviceRun(const th::config::RunConfig& config, th::runtime::Collectives& host,
            FakeDevice::Pace pace)
      : device(pace), transport(host, device), small(config, transport, &device) {}

  double train(std::int64_t step) {
    return small.train(step, [&](const auto& accumulate) {
      const FakeDevice::Kernel model(device);
      accumulate();
    });
  }

  FakeDevice device;
  th_test::FakeTransport transport;
  SmallRun small;
};

struct Setting {
  bool optimizer, parameters;
};
inline constexpr Setting kSettings[] = {{false, false}, {true, false}, {false, true}, {true, true}};

inline th::config::RunConfig make_config(
    std::int64_t stage, Setting setting, th::ElementType dtype = th::ElementType::kFp32,
    th::config::ReduceDtype reduced = th::config::ReduceDtype::kFp32,
    th::config::Overlap overlap = th::config::Overlap::kOff) {
  th::config::RunConfig config = SmallRun::make_config(32, stage);
  config.model.dropout = 0.1;
  config.precision.dtype = dtype;
  config.precision.reduce_dtype = reduced;
  config.zero.offload_optimizer = setting.optimizer;
  config.zero.offload_parameters = setting.parameters;
  config.comm.overlap = overlap;
  return config;
}

}  // namespace th_test
