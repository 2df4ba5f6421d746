#include "model/products/kernels/dot_tiles.hpp"
#include "model/products/kernels/row_kernel.hpp"

// Products in bf16 by AVX512_BF16: each step adds the products of two inputs to an output's sum.
namespace th::model::TH_ISA {

namespace {

struct Bf16Dots : Bf16Results {
  [[gnu::always_inline]] static inline __m512 add(__m512 sums, __m512i left, __m512i right) {
    return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(left),
                            reinterpret_cast<__m512bh>(right));
  }
};

}  // namespace

void multiply_bf16(const RowProduct<Bf16>& product) { dot_product<Bf16Dots>(product); }

}  // namespace th::model::TH_ISA
