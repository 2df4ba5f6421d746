#include <gtest/gtest.h>

#include "th/base/build_info.hpp"
#include "th/model/products/gemm.hpp"
#include "unit/model/tensors.hpp"

#include <array>
#include <limits>
#include <string>

namespace th::model {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;

/// M, K, N: single elements, odd sizes, sizes around vector and block borders, and a slim and a
/// wide product.
constexpr std::array<std::array<std::int64_t, 3>, 8> kShapes{{{1, 1, 1},
                                                              {1, 7, 5},
                                                              {3, 5, 7},
                                                              {16, 16, 16},
                                                              {17, 33, 31},
                                                              {64, 96, 32},
                                                              {200, 64, 192},
                                                              {2, 300, 1000}}};

// fp32 sums of up to 1000 products against fp64: a blocked sum errs far less than K * 2^-24;
// relative to the largest element.
constexpr double kTolerance = 4e-6;

at::Tensor batched(const Gemm& gemm, const at::Tensor& a, const at::Tensor& b) {
  at::Tensor c = at::empty({a.size(0), a.size(1), b.size(2)}, a.options());
  gemm.batched(a, b, c);
  return c;
}

class Gemms : public testing::TestWithParam<GemmLibrary> {};

TEST_P(Gemms, ForwardIsXTimesTheTransposedWeight) {
  const Gemm gemm(GetParam());
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor x = normal({m, k}, 1), weight = normal({n, k}, 2);
    const at::Tensor y = gemm.forward(x, weight);
    ASSERT_EQ(y.sizes(), (at::IntArrayRef{m, n}));
    EXPECT_TRUE(y.is_contiguous()) << "kernels read the buffer row by row";
    EXPECT_LT(relative_error(y, at::mm(x.to(at::kDouble), weight.to(at::kDouble).t())), kTolerance)
        << m << " " << k << " " << n;
  }
}

TEST_P(Gemms, InputGradientIsGTimesTheWeight) {
  const Gemm gemm(GetParam());
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor g = normal({m, n}, 3), weight = normal({n, k}, 4);
    const at::Tensor g_x = gemm.input_gradient(g, weight);
    ASSERT_EQ(g_x.sizes(), (at::IntArrayRef{m, k}));
    EXPECT_TRUE(g_x.is_contiguous()) << "kernels read the buffer row by row";
    EXPECT_LT(relative_error(g_x, at::mm(g.to(at::kDouble), weight.to(at::kDouble))), kTolerance)
        << m << " " << k << " " << n;
  }
}

TEST_P(Gemms, WeightGradientIsAddedToWhatIsThere) {
  const Gemm gemm(GetParam());
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor g = normal({m, n}, 5), x = normal({m, k}, 6);
    at::Tensor g_weight = normal({n, k}, 7);
    const at::Tensor before = g_weight.to(at::kDouble);
    gemm.weight_gradient(g, x, g_weight, Write::kAdd);
    EXPECT_LT(relative_error(g_weight, before + at::mm(g.to(at::kDouble).t(), x.to(at::kDouble))),
              kTolerance)
        << m << " " << k << " " << n;
  }
}

TEST_P(Gemms, WeightGradientReplacesWhatIsThere) {
  const Gemm gemm(GetParam());
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor g = normal({m, n}, 5), x = normal({m, k}, 6);
    at::Tensor g_weight = at::full({n, k}, std::numeric_limits<float>::quiet_NaN());
    gemm.weight_gradient(g, x, g_weight, Write::kSet);
    EXPECT_LT(relative_error(g_weight, at::mm(g.to(at::kDouble).t(), x.to(at::kDouble))),
              kTolerance)
        << m << " " << k << " " << n;
  }
}

TEST_P(Gemms, ABiasIsAddedToEveryRow) {
  const Gemm gemm(GetParam());
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const double tolerance = type == at::kFloat  ? kTolerance
                             : type == at::kHalf ? 1.1 * 0x1p-11
                                                 : 1.1 * 0x1p-8;  // rounded once
    for (const auto& [m, k, n] : kShapes) {
      const at::Tensor x = normal({m, k}, 1).to(type), weight = normal({n, k}, 2).to(type),
                       bias = normal({n}, 3).to(type);
      const at::Tensor exact =
          at::mm(x.to(at::kDouble), weight.to(at::kDouble).t()) + bias.to(at::kDouble);
      EXPECT_LT(relative_error(gemm.forward(x, weight, bias), exact), tolerance)
          << m << " " << k << " " << n;
    }
  }
}

TEST_P(Gemms, RowsOfAPackedWeightAreAProductOfTheirOwn) {
  const Gemm gemm(GetParam());
  const at::Tensor x = normal({10, 24}, 8), packed = normal({72, 24}, 9), g = normal({10, 24}, 10);
  for (const std::int64_t part : {0, 24, 48}) {
    const at::Tensor weight = packed.narrow(0, part, 24);
    EXPECT_LT(relative_error(gemm.forward(x, weight),
                             at::mm(x.to(at::kDouble), weight.to(at::kDouble).t())),
              kTolerance)
        << part;
    EXPECT_LT(relative_error(gemm.input_gradient(g, weight),
                             at::mm(g.to(at::kDouble), weight.to(at::kDouble))),
              kTolerance)
        << part;
  }
  at::Tensor g_packed = at::zeros({72, 24}), part = g_packed.narrow(0, 24, 24);
  gemm.weight_gradient(g, x, part, Write::kAdd);
  EXPECT_LT(relative_error(part, at::mm(g.to(at::kDouble).t(), x.to(at::kDouble))), kTolerance);
  EXPECT_TRUE(g_packed.narrow(0, 0, 24).eq(0).all().item<bool>() &&
              g_packed.narrow(0, 48, 24).eq(0).all().item<bool>());
}

TEST_P(Gemms, TheSameProductHasTheSameBitsEachTime) {
  const Gemm gemm(GetParam());
  for (const auto& [m, k, n] : kShapes) {
    const at::Tensor x = normal({m, k}, 11), weight = normal({n, k}, 12);
    const at::Tensor first = gemm.forward(x, weight).clone();
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(same_bits(gemm.forward(x.clone(), weight.clone()), first))
          << m << " " << k << " " << n;
  }
}

TEST_P(Gemms, BatchedProductsTakeTransposedViews) {
  const Gemm gemm(GetParam());
  const at::Tensor a = normal({6, 5, 7}, 13), b = normal({6, 9, 7}, 14), c = normal({6, 5, 9}, 15);
  EXPECT_LT(relative_error(batched(gemm, a, b.transpose(1, 2)),
                           at::bmm(a.to(at::kDouble), b.to(at::kDouble).transpose(1, 2))),
            kTolerance);
  EXPECT_LT(relative_error(batched(gemm, c, b), at::bmm(c.to(at::kDouble), b.to(at::kDouble))),
            kTolerance);
  EXPECT_LT(relative_error(batched(gemm, c.transpose(1, 2), a),
                           at::bmm(c.to(at::kDouble).transpose(1, 2), a.to(at::kDouble))),
            kTolerance);
}

TEST_P(Gemms, APlannedProductHasTheShapeOfAComputedOne) {
  const Gemm gemm(GetParam()), plan(GetParam(), Arithmetic::kShapesOnly);
  EXPECT_TRUE(gemm.computes());
  EXPECT_FALSE(plan.computes());
  const at::Tensor x = normal({5, 7}, 16), weight = normal({9, 7}, 17), g = normal({5, 9}, 18);
  EXPECT_EQ(plan.forward(x, weight).sizes(), gemm.forward(x, weight).sizes());
  EXPECT_EQ(plan.input_gradient(g, weight).sizes(), gemm.input_gradient(g, weight).sizes());
  const at::Tensor untouched = at::ones({1, 5, 9});
  plan.batched(x.unsqueeze(0), weight.t().unsqueeze(0), untouched);
  EXPECT_TRUE(untouched.eq(1).all().item<bool>());
  at::Tensor g_weight = at::ones({9, 7});
  plan.weight_gradient(g, x, g_weight, Write::kAdd);
  EXPECT_TRUE(g_weight.eq(1).all().item<bool>());
}

TEST_P(Gemms, SixteenBitProductsAreSummedInSinglePrecisionAndRoundedOnce) {
  // Half a unit in the last of 8 or 11 bits, relative to the largest element; sums in 16 bits would
  // err by more from K = 64 on.
  const Gemm gemm(GetParam());
  for (const auto& [type, tolerance] :
       {std::pair(at::kBFloat16, 0x1p-8), std::pair(at::kHalf, 0x1p-11)}) {
    for (const auto& [m, k, n] : kShapes) {
      const at::Tensor x = normal({m, k}, 1).to(type), weight = normal({n, k}, 2).to(type),
                       g = normal({m, n}, 3).to(type);
      const at::Tensor xd = x.to(at::kDouble), wd = weight.to(at::kDouble), gd = g.to(at::kDouble);
      EXPECT_LT(relative_error(gemm.forward(x, weight), at::mm(xd, wd.t())), 1.1 * tolerance)
          << m << " " << k << " " << n;
      EXPECT_LT(relative_error(gemm.input_gradient(g, weight), at::mm(gd, wd)), 1.1 * tolerance)
          << m << " " << k << " " << n;
      at::Tensor g_weight = at::zeros({n, k});
      gemm.weight_gradient(g, x, g_weight, Write::kAdd);
      EXPECT_LT(relative_error(g_weight, at::mm(gd.t(), xd)), 1.1 * tolerance)
          << m << " " << k << " " << n;
      ASSERT_EQ(gemm.forward(x, weight).scalar_type(), type);
    }
    const at::Tensor a = normal({6, 5, 7}, 13).to(type), b = normal({6, 9, 7}, 14).to(type),
                     c = normal({6, 5, 9}, 15).to(type);
    EXPECT_LT(relative_error(batched(gemm, a, b.transpose(1, 2)),
                             at::bmm(a.to(at::kDouble), b.to(at::kDouble).transpose(1, 2))),
              1.1 * tolerance);
    EXPECT_LT(relative_error(batched(gemm, c.transpose(1, 2), a),
                             at::bmm(c.to(at::kDouble).transpose(1, 2), a.to(at::kDouble))),
              1.1 * tolerance);
  }
}

TEST_P(Gemms, NamesItsLibrary) { EXPECT_EQ(Gemm(GetParam()).library(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Libraries, Gemms, testing::Values(GemmLibrary::kOnednn, GemmLibrary::kMkl),
                         [](const auto& p) { return std::string(gemm_name(p.param)); });

TEST(ResolveGemm, ARequestIsTakenAsItIs) {
  EXPECT_EQ(resolve_gemm(config::Gemm::kOnednn), GemmLibrary::kOnednn);
  EXPECT_EQ(resolve_gemm(config::Gemm::kMkl), GemmLibrary::kMkl);
  EXPECT_STREQ(gemm_name(GemmLibrary::kOnednn), "onednn");
  EXPECT_STREQ(gemm_name(GemmLibrary::kMkl), "mkl");
}

TEST(ResolveGemm, AutoGoesByTheProcessorAlone) {
  const bool amd_with_avx512 =
      processor_vendor() == "AuthenticAMD" && instruction_set() == "avx512";
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(resolve_gemm(config::Gemm::kAuto),
              amd_with_avx512 ? GemmLibrary::kOnednn : GemmLibrary::kMkl);
}

}  // namespace
}  // namespace th::model
