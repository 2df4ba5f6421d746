#include "model/ops/decoding_kernels.hpp"

#include "model/ops/row_math.hpp"
#include "th/base/half_float.hpp"
#include "th/base/vector_math.hpp"

#include <cmath>

namespace th::model {

#define TH_ELEMENT float
#include "model/ops/decoding_kernels_of_element.inc"
#undef TH_ELEMENT
#define TH_ELEMENT Bf16
#include "model/ops/decoding_kernels_of_element.inc"
#undef TH_ELEMENT
#define TH_ELEMENT Fp16
#include "model/ops/decoding_kernels_of_element.inc"
#undef TH_ELEMENT

}  // namespace th::model
