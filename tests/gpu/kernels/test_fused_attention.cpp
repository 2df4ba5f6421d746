#include "cuda/kernels/kernels.hpp"
#include "gpu/device/gpu_memory.hpp"
#include "gpu/kernels/attention_exam.hpp"

// Fused attention on a GPU.
namespace th::cuda {
namespace {

using Case = reference::AttentionCase;

template <typename T>
void examine(const runtime::ModelKernels<T>& kernels, double tolerance) {
  if (kernels.attention == nullptr) GTEST_SKIP() << "a block of this GPU has too little memory";
  const std::vector<std::int64_t> some{0, 17, 18, 50, 82}, others{0, 5, 45, 61, 64}, lone{0, 96};
  for (const float rate : {0.0F, 0.2F}) {
    for (const Case& c :
         {Case{some, some, 3, 64, false, rate}, Case{some, some, 2, 64, true, rate},
          Case{some, others, 2, 32, false, rate}, Case{others, some, 1, 16, false, rate},
          Case{lone, lone, 2, 64, true, rate}}) {
      SCOPED_TRACE(testing::Message() << c.heads << " heads of " << c.width
                                      << (c.causal ? ", causal" : "") << ", dropout " << rate);
      ASSERT_TRUE(runtime::fuses_attention(c.query_offsets.back() > 90 ? 96 : 40,
                                           c.key_offsets.back() > 90 ? 96 : 40, c.width));
      reference::AttentionExam<T, GpuMemory>(c, 5).compare(
          [&](const auto& o, T* out) { kernels.attention(o, out, nullptr); },
          [&](const auto& o, const T* g, T* g_q, T* g_k, T* g_v) {
            kernels.attention_backward(o, g, g_q, g_k, g_v, nullptr);
          },
          tolerance);
    }
  }
}

TEST(FusedAttention, IsThatOfTheFormulasInBf16) { examine(model_kernels_bf16(), 0.02); }
TEST(FusedAttention, IsThatOfTheFormulasInFp16) { examine(model_kernels_fp16(), 0.004); }
TEST(FusedAttention, RefusesWhatIsTooLong) {
  runtime::AttentionOperands<Bf16> o;
  o.batch = o.heads = 1;
  o.queries = o.keys = 4096;
  o.width = 64;
  if (model_kernels_bf16().attention == nullptr)
    GTEST_SKIP() << "a block of this GPU has too little memory";
  EXPECT_THROW(model_kernels_bf16().attention(o, nullptr, nullptr), InternalError);
}

}  // namespace
}  // namespace th::cuda
