// Products of inference: a row's bits depend on the row alone.
#include <gtest/gtest.h>

#include "th/model/products/gemm.hpp"
#include "unit/model/small_model.hpp"
#include "unit/model/tensors.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace th::model {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;

constexpr GemmLibrary kLibraries[] = {GemmLibrary::kMkl, GemmLibrary::kOnednn};
constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

class Rowwise : public testing::TestWithParam<std::tuple<GemmLibrary, at::ScalarType>> {
 protected:
  const Gemm gemm{Gemm(std::get<0>(GetParam())).rowwise()};
  const at::ScalarType type{std::get<1>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Products, Rowwise,
                         testing::Combine(testing::ValuesIn(kLibraries), testing::ValuesIn(kTypes)),
                         [](const auto& p) {
                           return std::string(gemm_name(std::get<0>(p.param))) + "_" +
                                  at::toString(std::get<1>(p.param));
                         });

TEST_P(Rowwise, ARowIsTheSameBitsAloneBesideOthersAndAnywhere) {
  constexpr std::int64_t kManyRows = 150;
  std::mt19937 random(3);
  for (const auto& [k, n] : {std::pair{1L, 1L}, {7L, 5L}, {16L, 16L}, {96L, 33L}, {300L, 67L}}) {
    const at::Tensor x = normal({kManyRows, k}, 1).to(type), weight = normal({n, k}, 2).to(type),
                     bias = normal({n}, 3).to(type);
    const at::Tensor all = gemm.forward(x, weight, bias);
    for (const std::int64_t count : {1, 2, 3, 5, 31, 32, 33, 100}) {
      std::vector<std::int64_t> rows(kManyRows);
      std::iota(rows.begin(), rows.end(), 0);
      std::shuffle(rows.begin(), rows.end(), random);
      rows.resize(static_cast<std::size_t>(count));
      const at::Tensor chosen = at::tensor(rows);
      EXPECT_TRUE(same_bits(gemm.forward(x.index_select(0, chosen), weight, bias),
                            all.index_select(0, chosen)))
          << k << " inputs, " << n << " outputs, " << count << " rows";
    }
  }
}

TEST_P(Rowwise, WeightsThatStayGiveTheSameBits) {
  const Gemm stay = Gemm(std::get<0>(GetParam())).rowwise(WeightLife::kStay);
  const at::Tensor x = normal({19, 70}, 1).to(type), weight = normal({101, 70}, 2).to(type),
                   bias = normal({101}, 3).to(type);
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(same_bits(stay.forward(x, weight, bias), gemm.forward(x, weight, bias)));
    const at::Tensor part = weight.narrow(0, 30, 50), part_bias = bias.narrow(0, 30, 50);
    EXPECT_TRUE(same_bits(stay.forward(x, part, part_bias), gemm.forward(x, part, part_bias)));
  }
}

TEST_P(Rowwise, ThreadsChangeNoBit) {
  const at::Tensor x = normal({70, 96}, 1).to(type), weight = normal({500, 96}, 2).to(type);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = gemm.forward(x, weight);
  at::set_num_threads(2);
  const at::Tensor two = gemm.forward(x, weight);
  at::set_num_threads(before);
  EXPECT_TRUE(same_bits(one, two));
}

TEST_P(Rowwise, AgreesWithProductsInFp64) {
  // A result of 16 bits is rounded once: half a unit of 8 or 11 bits.
  const double tolerance = type == at::kFloat ? 4e-6 : type == at::kHalf ? 0x1p-11 : 0x1p-8;
  for (const auto& [m, k, n] :
       {std::array{1L, 1L, 1L}, {3L, 17L, 5L}, {33L, 300L, 64L}, {70L, 2048L, 31L}}) {
    const at::Tensor x = normal({m, k}, 1).to(type), weight = normal({n, k}, 2).to(type),
                     bias = normal({n}, 3).to(type);
    const at::Tensor want =
        at::addmm(bias.to(at::kDouble), x.to(at::kDouble), weight.to(at::kDouble).t());
    EXPECT_LT(relative_error(gemm.forward(x, weight, bias), want), tolerance)
        << m << " " << k << " " << n;
  }
}

TEST(SentenceLosses, DependOnTheirOwnSentenceAlone) {
  const Transformer shape = test::make_model(test::small_section(config::Norm::kPre, false));
  Transformer model = test::make_model(test::small_section(config::Norm::kPre, false));
  test::RecordingSource source(shape);
  const data::Batch batch = test::usual_batch();
  const std::vector<double> all = model.sentence_losses(source, batch);
  ASSERT_EQ(std::ssize(all), batch.sentences);
  EXPECT_NEAR(std::accumulate(all.begin(), all.end(), 0.0), model.evaluate(source, batch).loss_sum,
              1e-9);
  for (std::size_t b = 0; b < all.size(); ++b)
    EXPECT_EQ(model.sentence_losses(source, test::only(batch, b)), std::vector{all[b]}) << b;
}

}  // namespace
}  // namespace th::model
