#pragma once

#include <ATen/record_function.h>

#include <memory>

#include "fakes/fake_device.hpp"
#include "th/model/ops/kernel_set.hpp"
#include "th/runtime/device/model_kernels.hpp"

// Kernels that may touch a fake device's memory, as the kernels of a real device do: the host's own
// and LibTorch's operators.
namespace th_test {

/// The host's kernels as those of a device: its memory can be touched within them alone.
inline FakeDevice* guarded_device = nullptr;
template <auto Member>
struct Guarded;
template <typename T, typename... A, void (*th::runtime::ModelKernels<T>::*Member)(A...)>
struct Guarded<Member> {
  static void call(A... arguments) {
    const FakeDevice::Kernel kernel(*guarded_device);
    (th::model::host_kernels().table<T>().*Member)(arguments...);
  }
};
template <typename T>
constexpr th::runtime::ModelKernels<T> guarded_table() {
  using K = th::runtime::ModelKernels<T>;
  return {Guarded<&K::add_dropout>::call,
          Guarded<&K::dropout_backward>::call,
          Guarded<&K::bias_relu_dropout>::call,
          Guarded<&K::relu_dropout_backward>::call,
          Guarded<&K::add_column_sums>::call,
          Guarded<&K::add_to>::call,
          Guarded<&K::accumulate>::call,
          Guarded<&K::widen>::call,
          Guarded<&K::narrow>::call,
          Guarded<&K::layer_norm>::call,
          Guarded<&K::layer_norm_backward>::call,
          Guarded<&K::masked_softmax>::call,
          Guarded<&K::apply_dropout>::call,
          Guarded<&K::softmax_dropout_backward>::call,
          Guarded<&K::split_heads>::call,
          Guarded<&K::merge_heads>::call,
          Guarded<&K::embed>::call,
          Guarded<&K::embed_backward>::call,
          Guarded<&K::cross_entropy>::call,
          Guarded<&K::add_total>::call,
          nullptr,
          nullptr};
}

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
