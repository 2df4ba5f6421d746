#pragma once

#include <ATen/core/Tensor.h>

#include "th/model/ops/element.hpp"
#include "th/runtime/device/matrix_product.hpp"
#include "th/runtime/device/model_kernels.hpp"

namespace th::model {

/// The model's kernels on one device, a table for each element type, and the stream on which their
/// work is enqueued.
struct KernelSet {
  const runtime::ModelKernels<float>* fp32 = nullptr;
  const runtime::ModelKernels<Bf16>* bf16 = nullptr;
  const runtime::ModelKernels<Fp16>* fp16 = nullptr;
  void* stream = nullptr;  ///< a cudaStream_t; null: the default stream, on the host nothing
  runtime::MultiplyFn* multiply = nullptr;  ///< matrix products in that device's memory; null:
                                            ///< LibTorch's or oneDNN's, of the host

  template <typename T>
  [[nodiscard]] const runtime::ModelKernels<T>& table() const {
    if constexpr (std::is_same_v<T, float>)
      return *fp32;
    else if constexpr (std::is_same_v<T, Bf16>)
      return *bf16;
    else
      return *fp16;
  }
};

/// Those of th/model/ops/kernels.hpp: they compute at once.
[[nodiscard]] const KernelSet& host_kernels();

/// The kernels of one element type: k->layer_norm(k.elements(x), …, k.stream).
template <typename T>
struct Kernels {
  const runtime::ModelKernels<T>& table;
  void* stream;
  const runtime::ModelKernels<T>* operator->() const { return &table; }
  [[nodiscard]] T* elements(const at::Tensor& tensor) const { return model::elements<T>(tensor); }
};

/// Calls `body` with the kernels of the tensor's element type.
template <typename Body>
void with_kernels(const KernelSet& set, const at::Tensor& like, Body&& body) {
  with_element(like, [&](auto element) {
    using T = decltype(element);
    body(Kernels<T>{set.table<T>(), set.stream});
  });
}

}  // namespace th::model
