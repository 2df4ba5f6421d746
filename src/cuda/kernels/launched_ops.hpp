#pragma once

#include "cuda/kernels/bodies/activation_bodies.hpp"
#include "cuda/kernels/bodies/element_bodies.hpp"
#include "cuda/kernels/bodies/row_bodies.hpp"
#include "th/runtime/ops/operands.hpp"

namespace th::cuda {

/// The one adaptor between the table's entries and the overload set launch<Launch>(operands,
/// stream). Attention in one kernel is not in it: only some devices have room for it
/// (fused_attention.hpp).
template <typename Launch>
struct LaunchedOps {
  template <typename Operands>
  static constexpr bool has = requires(const Operands& operands, void* stream) {
    launch<Launch>(operands, stream);
  };

  template <typename Operands>
  static void run(const Operands& operands, void* stream) {
    launch<Launch>(operands, stream);
  }
};

template <typename T, typename Launch>
[[nodiscard]] constexpr runtime::OpTable<T> launched_ops() {
  return runtime::OpTable<T>::template of<LaunchedOps<Launch>>();
}

}  // namespace th::cuda
