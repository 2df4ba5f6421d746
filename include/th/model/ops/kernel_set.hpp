#pragma once

#include <ATen/core/Tensor.h>

#include "th/model/ops/element.hpp"
#include "th/runtime/device/matrix_product.hpp"
#include "th/runtime/ops/operands.hpp"

namespace th::model {

/// The model's ops on one device, a table for each element type, and the stream on which their work
/// is enqueued.
struct KernelSet {
  const runtime::OpTable<float>* fp32 = nullptr;
  const runtime::OpTable<Bf16>* bf16 = nullptr;
  const runtime::OpTable<Fp16>* fp16 = nullptr;
  void* stream = nullptr;  ///< a cudaStream_t; null: the default stream, on the host nothing
  runtime::MultiplyFn* multiply = nullptr;  ///< matrix products in that device's memory; null:
                                            ///< LibTorch's or oneDNN's, of the host

  template <typename T>
  [[nodiscard]] const runtime::OpTable<T>& table() const {
    if constexpr (std::is_same_v<T, float>)
      return *fp32;
    else if constexpr (std::is_same_v<T, Bf16>)
      return *bf16;
    else
      return *fp16;
  }
};

/// The host's ops (th/model/ops/host_ops.hpp): they compute before they return.
[[nodiscard]] const KernelSet& host_kernels();

/// The ops of one element type on one device:
///   context.run(x, [&]<typename T>(const Kernels<T>& k) {
///     k(op::AddTo<T>{.y = k.elements(y), .x = k.elements(x), .count = x.numel()});
///   });
template <typename T>
class Kernels {
 public:
  Kernels(const runtime::OpTable<T>& table, void* stream) : table_(table), stream_(stream) {}

  /// Runs one op, enqueued on the stream.
  template <typename Operands>
  void operator()(const Operands& operands) const {
    table_.run(operands, stream_);
  }
  /// Whether this device has the op.
  template <typename Operands>
  [[nodiscard]] bool has() const {
    return table_.template has<Operands>();
  }
  [[nodiscard]] T* elements(const at::Tensor& tensor) const { return model::elements<T>(tensor); }

 private:
  const runtime::OpTable<T>& table_;
  void* stream_;
};

/// Calls `body` with the kernels of the tensor's element type.
template <typename Body>
void with_kernels(const KernelSet& set, const at::Tensor& like, Body&& body) {
  with_element(like, [&](auto element) {
    using T = decltype(element);
    body(Kernels<T>(set.table<T>(), set.stream));
  });
}

}  // namespace th::model
