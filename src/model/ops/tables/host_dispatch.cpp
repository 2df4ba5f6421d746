#include "model/ops/tables/host_tables.hpp"
#include "th/base/build_info.hpp"
#include "th/model/ops/host_ops.hpp"

namespace th::model {

namespace {

const HostTables* tables_of(std::string_view isa) {
#if defined(__x86_64__)
  const std::string best = instruction_set();
  if (isa == "avx512" && best == "avx512") return &avx512::kHostTables;
  if (isa == "avx2" && best != "baseline") return &avx2::kHostTables;
#endif
  return isa == "baseline" ? &baseline::kHostTables : nullptr;
}

}  // namespace

template <typename T>
const runtime::OpTable<T>& host_ops() {
  static const runtime::OpTable<T>& ops = tables_of(instruction_set())->of<T>();
  return ops;
}

template <typename T>
const runtime::OpTable<T>* host_ops_of(std::string_view isa) {
  const HostTables* tables = tables_of(isa);
  return tables == nullptr ? nullptr : &tables->of<T>();
}

template const runtime::OpTable<float>& host_ops<float>();
template const runtime::OpTable<Bf16>& host_ops<Bf16>();
template const runtime::OpTable<Fp16>& host_ops<Fp16>();
template const runtime::OpTable<float>* host_ops_of<float>(std::string_view);
template const runtime::OpTable<Bf16>* host_ops_of<Bf16>(std::string_view);
template const runtime::OpTable<Fp16>* host_ops_of<Fp16>(std::string_view);

}  // namespace th::model
