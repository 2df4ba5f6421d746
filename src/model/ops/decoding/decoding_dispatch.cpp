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

template <>
void attend_one(const AttendOne<float>& operands) {
  tables().fp32.attend_one(operands);
}
template <>
void attend_one(const AttendOne<Bf16>& operands) {
  tables().bf16.attend_one(operands);
}
template <>
void attend_one(const AttendOne<Fp16>& operands) {
  tables().fp16.attend_one(operands);
}

template <>
RowNormalizer normalizer_of(const float* logits, std::int64_t vocabulary, float* maxima) {
  return tables().fp32.normalizer_of(logits, vocabulary, maxima);
}
template <>
RowNormalizer normalizer_of(const Bf16* logits, std::int64_t vocabulary, float* maxima) {
  return tables().bf16.normalizer_of(logits, vocabulary, maxima);
}
template <>
RowNormalizer normalizer_of(const Fp16* logits, std::int64_t vocabulary, float* maxima) {
  return tables().fp16.normalizer_of(logits, vocabulary, maxima);
}

template <>
void chosen_dots(const ChosenDots<float>& operands) {
  tables().fp32.chosen_dots(operands);
}
template <>
void chosen_dots(const ChosenDots<Bf16>& operands) {
  tables().bf16.chosen_dots(operands);
}
template <>
void chosen_dots(const ChosenDots<Fp16>& operands) {
  tables().fp16.chosen_dots(operands);
}

}  // namespace th::model
