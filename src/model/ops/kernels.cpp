#include "th/model/ops/kernels.hpp"

#include "model/ops/row_math.hpp"
#include "th/base/half_float.hpp"
#include "th/base/vector_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace th::model {

using Draws = DropoutDraws;

#define TH_ELEMENT float
#include "model/ops/kernels_of_element.inc"
#undef TH_ELEMENT
#define TH_ELEMENT Bf16
#include "model/ops/kernels_of_element.inc"
#undef TH_ELEMENT
#define TH_ELEMENT Fp16
#include "model/ops/kernels_of_element.inc"
#undef TH_ELEMENT

}  // namespace th::model
