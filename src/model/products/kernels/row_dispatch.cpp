#include "model/products/kernels/int8_kernel.hpp"
#include "model/products/kernels/row_kernel.hpp"
#include "th/base/build_info.hpp"

namespace th::model {

namespace {

const RowKernels* chosen() {
#if defined(__x86_64__)
  const std::string isa = instruction_set();
  if (isa == "avx512") return &avx512::kRowKernels;
  if (isa == "avx2") return &avx2::kRowKernels;
#endif
  return nullptr;
}

Bf16Multiply chosen_bf16() {
#if defined(__x86_64__)
  if (instruction_set() != "avx512") return nullptr;
  if (has_amx_instructions()) return amx::multiply_bf16;
  if (has_bf16_instructions()) return avx512_bf16::multiply_bf16;
#endif
  return nullptr;
}

Int8Multiply chosen_int8() {
#if defined(__x86_64__)
  if (instruction_set() != "avx512") return nullptr;
  if (has_amx_instructions()) return amx::multiply_int8;
  if (__builtin_cpu_supports("avx512vnni") != 0) return avx512_vnni::multiply_int8;
#endif
  return nullptr;
}

}  // namespace

const RowKernels* row_kernels() {
  static const RowKernels* const found = chosen();
  return found;
}

Bf16Multiply bf16_multiply() {
  static const Bf16Multiply found = chosen_bf16();
  return found;
}

Int8Multiply int8_multiply() {
  static const Int8Multiply found = chosen_int8();
  return found;
}

}  // namespace th::model
