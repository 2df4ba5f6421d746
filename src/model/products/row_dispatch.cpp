#include "model/products/row_kernel.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"

namespace th::model {

namespace {

using Multiply = void (*)(const RowProduct&);

Multiply chosen() {
#if defined(__x86_64__)
  const std::string isa = instruction_set();
  if (isa == "avx512") return avx512::multiply_rows;
  if (isa == "avx2") return avx2::multiply_rows;
#endif
  return nullptr;
}

Multiply kernel() {
  static const Multiply found = chosen();
  return found;
}

}  // namespace

bool has_row_products() { return kernel() != nullptr; }

void multiply_rows(const RowProduct& product) {
  ensure(has_row_products(), "multiply_rows: not of this processor");
  kernel()(product);
}

}  // namespace th::model
