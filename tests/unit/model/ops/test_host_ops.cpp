// The host's ops of every instruction set against each other: equal bits, so that a run does not
// depend on the processor.
#include "gpu/kernels/option_kernel_exam.hpp"
#include "th/model/ops/host_ops.hpp"

namespace th::model {
namespace {

template <typename T>
class HostOps : public testing::Test {};
using Elements = testing::Types<float, Bf16, Fp16>;
TYPED_TEST_SUITE(HostOps, Elements);

TYPED_TEST(HostOps, HaveTheSameBitsForEveryInstructionSet) {
  for (const char* isa : {"avx2", "avx512"}) {
    const auto* ops = host_ops_of<TypeParam>(isa);
    if (ops == nullptr) continue;  // this processor does not have it
    SCOPED_TRACE(isa);
    reference::examine_model_kernels<TypeParam, reference::HostMemory>(
        *ops, *host_ops_of<TypeParam>("baseline"), reference::Sums::kSame);
    reference::examine_option_kernels<TypeParam, reference::HostMemory>(
        *ops, *host_ops_of<TypeParam>("baseline"), reference::Sums::kSame);
  }
}

TYPED_TEST(HostOps, AttentionIsMissingOnTheBaselineAlone) {
  EXPECT_FALSE(host_ops_of<TypeParam>("baseline")->template has<op::Attention<TypeParam>>());
  const auto* avx2 = host_ops_of<TypeParam>("avx2");
  if (avx2 == nullptr) GTEST_SKIP() << "this processor has no AVX2";
  EXPECT_TRUE(avx2->template has<op::Attention<TypeParam>>());
  EXPECT_TRUE(avx2->template has<op::AttentionBackward<TypeParam>>());
}

}  // namespace
}  // namespace th::model
