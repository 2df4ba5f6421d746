#pragma once

#include <string_view>

#include "th/runtime/ops/operands.hpp"

// The ops on the host, without tensors. Their bodies (src/model/ops) are compiled once for each
// instruction set.
namespace th::model {

/// The ops for elements T (float, Bf16, Fp16), compiled for th::instruction_set(). They compute
/// before they return and use no stream.
template <typename T>
[[nodiscard]] const runtime::OpTable<T>& host_ops();

/// The ops compiled for the instruction set `isa` ("avx512", "avx2", "baseline"), which give the
/// same bits; null if this processor or this build does not have it.
template <typename T>
[[nodiscard]] const runtime::OpTable<T>* host_ops_of(std::string_view isa);

/// Computes one op on the host.
template <template <typename> typename Op, typename T>
void compute(const Op<T>& operands) {
  host_ops<T>().run(operands, nullptr);
}

}  // namespace th::model
