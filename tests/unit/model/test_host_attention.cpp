// Attention of the host in one kernel against the formulas in fp64, and its bits: the same for
// every tile, thread count and company.
#include "model/ops/host_attention.hpp"

#include <ATen/Parallel.h>

#include "gpu/kernels/attention_exam.hpp"
#include "th/model/ops/kernel_set.hpp"

namespace th::model {
namespace {

using Case = reference::AttentionCase;
using Offsets = std::vector<std::int64_t>;

/// All heads on one thread, with these tiles.
template <typename T>
std::vector<T> run(const Case& c, Tiles tiles, double tolerance) {
  const reference::AttentionExam<T, reference::HostMemory> exam(c, 5);
  const auto all = [&](const auto& o) { return HeadRange{0, o.batch * o.heads, o.scratch, tiles}; };
  return exam.compare([&](const auto& o, T* out) { host_attention(o, out, all(o)); },
                      [&](const auto& o, const T* g, T* g_q, T* g_k, T* g_v) {
                        host_attention_backward(o, g, g_q, g_k, g_v, all(o));
                      },
                      tolerance, runtime::host_attention_scratch(exam.keys(), c.width));
}

/// The table's kernels, on LibTorch's threads.
template <typename T>
std::vector<T> run_table(const Case& c, double tolerance) {
  const runtime::ModelKernels<T>& k = host_kernels().table<T>();
  const reference::AttentionExam<T, reference::HostMemory> exam(c, 5);
  return exam.compare(
      [&](const auto& o, T* out) { k.attention(o, out, nullptr); },
      [&](const auto& o, const T* g, T* g_q, T* g_k, T* g_v) {
        k.attention_backward(o, g, g_q, g_k, g_v, nullptr);
      },
      tolerance, at::get_num_threads() * runtime::host_attention_scratch(exam.keys(), c.width));
}

/// Around the queries that are taken at a time (48), tiles of 6 and 8 rows, vectors of 8 and 16.
const Offsets kShort{0, 1, 8, 21, 37, 53}, kOther{0, 16, 17, 40, 45, 56},
    kLong{0, 47, 95, 144, 274}, kLongOther{0, 130, 163, 180, 229};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const float rate : {0.0F, 0.2F}) {
    for (const std::int64_t width : {8, 16, 24, 64}) {
      for (const bool causal : {false, true}) {
        out.push_back({kShort, kShort, 3, width, causal, rate});
        out.push_back({kLong, kLong, 2, width, causal, rate});
      }
      out.push_back({kShort, kOther, 2, width, false, rate});
      out.push_back({kLong, kLongOther, 1, width, false, rate});
      out.push_back({kLongOther, kLong, 1, width, false, rate});
    }
  }
  return out;
}

template <typename T>
class HostAttention : public testing::Test {
 protected:
  void SetUp() override {
    if (!host_fuses_attention()) GTEST_SKIP() << "this processor has no AVX2";
  }
  static constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6
                                       : std::is_same_v<T, Bf16>
                                           ? 0.01
                                           : 0.002;  ///< of the result's rounding
};
using Elements = testing::Types<float, Bf16, Fp16>;
TYPED_TEST_SUITE(HostAttention, Elements);

TYPED_TEST(HostAttention, IsThatOfTheFormulasWithTheSameBitsForEveryTile) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(testing::Message()
                 << c.heads << " heads of " << c.width << (c.causal ? ", causal" : "")
                 << ", dropout " << c.rate << ", " << c.query_offsets.back() << " rows");
    const std::vector<TypeParam> narrow = run<TypeParam>(c, Tiles::kAvx2, this->kTolerance);
    if (widest_tiles() == Tiles::kAvx512)
      reference::expect_same_bits(run<TypeParam>(c, Tiles::kAvx512, this->kTolerance), narrow,
                                  "wide tiles");
  }
}

TYPED_TEST(HostAttention, HasTheSameBitsForAnyNumberOfThreads) {
  const Case c{kLong, kLongOther, 3, 24, false, 0.2F};
  const std::vector<TypeParam> one = run<TypeParam>(c, widest_tiles(), this->kTolerance);
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  const std::vector<TypeParam> three = run_table<TypeParam>(c, this->kTolerance);
  at::set_num_threads(before);
  reference::expect_same_bits(three, one, "three threads");
}

TYPED_TEST(HostAttention, WritesZeroGradientsOfKeysThatNobodyAskedFor) {
  const Case c{{0, 3, 3, 7}, {0, 2, 9, 12}, 2, 16, false, 0.0F};
  (void)run<TypeParam>(c, widest_tiles(), this->kTolerance);  // the formulas say zero
}

}  // namespace
}  // namespace th::model
