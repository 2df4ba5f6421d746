#include "model/ops/decoding/decoding_kernels.hpp"
#include "th/base/build_info.hpp"

namespace th::model {

namespace {

const DecodingTables& tables() {
  static const DecodingTables& chosen = []() -> const DecodingTables& {
#if defined(__x86_64__)
    const std::string isa = instruction_set();
    if (isa == "avx512") return avx512::kDecodingTables;
    if (isa == "avx2") return avx2::kDecodingTables;
#endif
    return baseline::kDecodingTables;
  }();
  return chosen;
}

}  // namespace

template <typename T>
const DecodingOps<T>& decoding_ops() {
  return tables().of<T>();
}

template const DecodingOps<float>& decoding_ops<float>();
template const DecodingOps<Bf16>& decoding_ops<Bf16>();
template const DecodingOps<Fp16>& decoding_ops<Fp16>();

}  // namespace th::model
