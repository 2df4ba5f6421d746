// Attention of the host in one kernel against the formulas in fp64, and its bits: the same for
// every tile, thread count and company.
#include "host_exam.hpp"
#include "th/base/build_info.hpp"

namespace th::model {
namespace {

using HostCase = reference::AttentionCase;
using test::attention_results;
using test::kCausal;
using test::kFull;
using test::Offsets;

/// Around the queries that are taken at a time (48), tiles of 6 and 8 rows, vectors of 8 and 16.
const Offsets kShort{0, 1, 8, 21, 37, 53}, kOther{0, 16, 17, 40, 45, 56},
    kLong{0, 47, 95, 144, 274}, kLongOther{0, 130, 163, 180, 229};

std::vector<HostCase> cases() {
  std::vector<HostCase> out;
  for (const float rate : {0.0F, 0.2F}) {
    for (const std::int64_t width : {8, 16, 24, 64}) {
      for (const runtime::ScoreRule rule : {kFull, kCausal}) {
        out.push_back({kShort, kShort, 3, width, rule, rate});
        out.push_back({kLong, kLong, 2, width, rule, rate});
      }
      out.push_back({kShort, kOther, 2, width, kFull, rate});
      out.push_back({kLong, kLongOther, 1, width, kFull, rate});
      out.push_back({kLongOther, kLong, 1, width, kFull, rate});
    }
  }
  return out;
}

template <typename T>
class HostAttention : public testing::Test {
 protected:
  void SetUp() override {
    if (!host_ops<float>().has<op::Attention<float>>())
      GTEST_SKIP() << "this processor has no AVX2";
  }
  static constexpr double kTolerance = std::is_same_v<T, float> ? 2e-6
                                       : std::is_same_v<T, Bf16>
                                           ? 0.01
                                           : 0.002;  ///< of the result's rounding
};
using Elements = testing::Types<float, Bf16, Fp16>;
TYPED_TEST_SUITE(HostAttention, Elements);

TYPED_TEST(HostAttention, IsThatOfTheFormulasWithTheSameBitsForEveryTile) {
  for (const HostCase& c : cases()) {
    SCOPED_TRACE(testing::Message()
                 << c.heads << " heads of " << c.width << ", " << reference::name_of(c.rule)
                 << ", dropout " << c.rate << ", " << c.query_offsets.back() << " rows");
    const std::vector<TypeParam> narrow =
        attention_results(c, *host_ops_of<TypeParam>("avx2"), this->kTolerance);
    if (const auto* wide = host_ops_of<TypeParam>("avx512"))
      reference::expect_same_bits(attention_results(c, *wide, this->kTolerance), narrow,
                                  "wide tiles");
  }
}

TYPED_TEST(HostAttention, HasTheSameBitsForAnyNumberOfThreads) {
  const HostCase c{kLong, kLongOther, 3, 24, kFull, 0.2F};
  const std::vector<TypeParam> one = attention_results(c, host_ops<TypeParam>(), this->kTolerance);
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  const std::vector<TypeParam> three =
      attention_results(c, host_ops<TypeParam>(), this->kTolerance);
  at::set_num_threads(before);
  reference::expect_same_bits(three, one, "three threads");
}

TYPED_TEST(HostAttention, WritesZeroGradientsOfKeysThatNobodyAskedFor) {
  const HostCase c{{0, 3, 3, 7}, {0, 2, 9, 12}, 2, 16, kFull, 0.0F};
  (void)attention_results(c, host_ops<TypeParam>(), this->kTolerance);  // the formulas say zero
}

}  // namespace
}  // namespace th::model
