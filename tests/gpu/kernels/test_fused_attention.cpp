#include "cuda/kernels/kernels.hpp"
#include "gpu/device/gpu_memory.hpp"
#include "gpu/kernels/attention_exam.hpp"

// Fused attention on a GPU.
namespace th::cuda {
namespace {

using Case = reference::AttentionCase;
constexpr runtime::ScoreRule kFull{runtime::ScoreRule::Kind::kFull},
    kCausal{runtime::ScoreRule::Kind::kCausal}, kLocal{runtime::ScoreRule::Kind::kLocal, 7, 0},
    kLocalCross{runtime::ScoreRule::Kind::kLocalCross, 9, 9, 1,
                runtime::ScoreRule::kRatioUnit * 5 / 4};

template <typename T>
void examine(const runtime::OpTable<T>& ops, double tolerance) {
  if (!ops.template has<op::Attention<T>>())
    GTEST_SKIP() << "a block of this GPU has too little memory";
  const std::vector<std::int64_t> some{0, 17, 18, 50, 82}, others{0, 5, 45, 61, 64}, lone{0, 96};
  for (const float rate : {0.0F, 0.2F}) {
    for (const Case& c :
         {Case{some, some, 3, 64, kFull, rate}, Case{some, some, 2, 64, kCausal, rate},
          Case{some, others, 2, 32, kFull, rate}, Case{others, some, 1, 16, kFull, rate},
          Case{lone, lone, 2, 64, kCausal, rate}, Case{lone, lone, 2, 64, kLocal, rate},
          Case{some, others, 2, 32, kLocalCross, rate}}) {
      SCOPED_TRACE(testing::Message() << c.heads << " heads of " << c.width << ", "
                                      << reference::name_of(c.rule) << ", dropout " << rate);
      ASSERT_TRUE(runtime::fuses_attention(c.query_offsets.back() > 90 ? 96 : 40,
                                           c.key_offsets.back() > 90 ? 96 : 40, c.width));
      reference::AttentionExam<T, GpuMemory>(c, 5).compare(ops, tolerance);
    }
  }
}

TEST(FusedAttention, IsThatOfTheFormulasInBf16) { examine(model_kernels_bf16(), 0.02); }
TEST(FusedAttention, IsThatOfTheFormulasInFp16) { examine(model_kernels_fp16(), 0.004); }
TEST(FusedAttention, RefusesWhatIsTooLong) {
  op::Attention<Bf16> o;
  o.inputs.batch = o.inputs.heads = 1;
  o.inputs.queries = o.inputs.keys = 4096;
  o.inputs.width = 64;
  if (!model_kernels_bf16().has<op::Attention<Bf16>>())
    GTEST_SKIP() << "a block of this GPU has too little memory";
  EXPECT_THROW(model_kernels_bf16().run(o, nullptr), InternalError);
}

}  // namespace
}  // namespace th::cuda
