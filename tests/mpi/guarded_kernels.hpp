#pragma once

#include <ATen/record_function.h>

#include <memory>
#include <type_traits>

#include "fakes/fake_device.hpp"
#include "th/model/ops/host_ops.hpp"
#include "th/model/ops/kernel_set.hpp"

// Kernels that may touch a fake device's memory, as the kernels of a real device do: the host's own
// and LibTorch's operators.
namespace th_test {

/// The host's kernels as those of a device: its memory can be touched within them alone.
inline FakeDevice* guarded_device = nullptr;
struct GuardedOps {
  template <typename Operands>
  static constexpr bool has = !std::is_same_v<Operands, th::op::Attention<float>> &&
                              !std::is_same_v<Operands, th::op::AttentionBackward<float>>;
  template <typename Operands>
  static void run(const Operands& operands, void*) {
    const FakeDevice::Kernel kernel(*guarded_device);
    th::model::compute(operands);
  }
};

/// While it lives, LibTorch's operators are kernels of the device too, as those on CUDA tensors
/// are.
class GuardedOperators {
 public:
  explicit GuardedOperators(FakeDevice& device) {
    guarded_device = &device;
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&open).scopes({at::RecordScope::FUNCTION}));
  }
  ~GuardedOperators() { at::removeCallback(handle_); }
  GuardedOperators(const GuardedOperators&) = delete;
  GuardedOperators& operator=(const GuardedOperators&) = delete;

 private:
  struct Open : at::ObserverContext {
    FakeDevice::Kernel kernel{*guarded_device};
  };
  static std::unique_ptr<at::ObserverContext> open(const at::RecordFunction&) {
    return std::make_unique<Open>();
  }
  at::CallbackHandle handle_;
};

}  // namespace th_test
