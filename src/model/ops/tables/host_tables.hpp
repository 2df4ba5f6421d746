#pragma once

#include <type_traits>

#include "th/base/half_float.hpp"
#include "th/runtime/ops/operands.hpp"

namespace th::model {

/// The ops of every element type, compiled for one instruction set.
struct HostTables {
  runtime::OpTable<float> fp32;
  runtime::OpTable<Bf16> bf16;
  runtime::OpTable<Fp16> fp16;

  template <typename T>
  [[nodiscard]] const runtime::OpTable<T>& of() const {
    if constexpr (std::is_same_v<T, float>)
      return fp32;
    else if constexpr (std::is_same_v<T, Bf16>)
      return bf16;
    else
      return fp16;
  }
};

// host_ops.cpp is compiled once for each of these namespaces (cmake/ThIsa.cmake).
namespace avx512 {
extern const HostTables kHostTables;
}
namespace avx2 {
extern const HostTables kHostTables;
}
namespace baseline {
extern const HostTables kHostTables;
}

}  // namespace th::model
