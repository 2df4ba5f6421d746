#include "th/model/ops/host_ops.hpp"
#include "th/model/ops/kernel_set.hpp"

namespace th::model {

const KernelSet& host_kernels() {
  static const KernelSet kSet{&host_ops<float>(), &host_ops<Bf16>(), &host_ops<Fp16>()};
  return kSet;
}

}  // namespace th::model
