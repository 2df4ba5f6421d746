#include <gtest/gtest.h>

#include "th/model/blocks/transformer.hpp"
#include "th/model/parameters/initialization.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace th::model {
namespace {

using Floats = std::vector<float>;

Floats initial(const std::string& name, std::vector<std::int64_t> shape, std::uint64_t seed = 1,
               std::int64_t d_model = 64) {
  const model::TensorSpec spec{name, std::move(shape)};
  Floats out(static_cast<std::size_t>(spec.count()));
  initialize_elements(spec, seed, d_model, 0, spec.count(), out.data());
  return out;
}

double mean(const Floats& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v);
  return sum / static_cast<double>(x.size());
}

double deviation(const Floats& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

void expect_uniform(const Floats& x, double bound, const char* name) {
  const auto n = static_cast<double>(x.size());
  const double sigma = bound / std::sqrt(3.0);
  for (const float v : x)
    ASSERT_LE(std::abs(static_cast<double>(v)), bound * (1 + 1e-7))
        << name;  // 1e-7: the last rounding to fp32
  EXPECT_LT(std::abs(mean(x)), 4 * sigma / std::sqrt(n)) << name;
  EXPECT_NEAR(deviation(x), sigma, 4 * sigma * std::sqrt(0.2 / n))
      << name;  // 4 sigma: a uniform variable's square has variance 4/45 b^4
  EXPECT_GT(static_cast<double>(*std::max_element(x.begin(), x.end())), bound * (1 - 20 / n))
      << name;
}

TEST(Initialization, MatricesAreXavierUniformOverTheirWholeShape) {
  expect_uniform(initial("encoder.layers.0.linear1.weight", {256, 64}), std::sqrt(6.0 / (256 + 64)),
                 "linear1");
  expect_uniform(initial("decoder.layers.1.self_attn.in_proj_weight", {192, 64}),
                 std::sqrt(6.0 / (192 + 64)), "in_proj");
  expect_uniform(initial("decoder.layers.1.multihead_attn.out_proj.weight", {64, 64}),
                 std::sqrt(6.0 / (64 + 64)), "out_proj");
}

TEST(Initialization, EmbeddingsAreNormalWithTheWidthsRoot) {
  for (const char* name :
       {"source_embedding.weight", "target_embedding.weight", "source_positions.weight"}) {
    const Floats x = initial(name, {1000, 64});
    EXPECT_NEAR(deviation(x), 0.125, 4 * 0.125 / std::sqrt(2.0 * 64000)) << name;
    EXPECT_LT(std::abs(mean(x)), 4 * 0.125 / std::sqrt(64000.0)) << name;
    const auto inside =
        std::count_if(x.begin(), x.end(), [](float v) { return std::abs(v) < 0.125F; });
    EXPECT_NEAR(static_cast<double>(inside) / 64000, 0.6827, 4 * std::sqrt(0.6827 * 0.3173 / 64000))
        << name;  // within one sigma
  }
}

TEST(Initialization, TheOutputProjectionIsUniformInTheWidthsRoot) {
  expect_uniform(initial("output_projection.weight", {500, 64}), 0.125, "weight");
  expect_uniform(initial("output_projection.bias", {5000}), 0.125, "bias");
}

TEST(Initialization, BiasesAreZeroAndNormsOneAndZero) {
  for (const char* name :
       {"encoder.layers.0.linear1.bias", "encoder.layers.0.self_attn.in_proj_bias",
        "decoder.layers.0.multihead_attn.out_proj.bias", "encoder.layers.0.norm1.bias",
        "encoder.norm.bias", "decoder.norm.bias"}) {
    for (const float v : initial(name, {64})) ASSERT_EQ(v, 0.0F) << name;
  }
  for (const char* name : {"encoder.layers.0.norm1.weight", "decoder.layers.3.norm3.weight",
                           "encoder.norm.weight", "decoder.norm.weight"}) {
    for (const float v : initial(name, {64})) ASSERT_EQ(v, 1.0F) << name;
  }
}

TEST(Initialization, NormsOfOptionsAreOne) {
  for (const char* name :
       {"encoder.layernorm_embedding.weight", "decoder.layers.0.self_attn.q_norm.weight"}) {
    for (const float v : initial(name, {64})) ASSERT_EQ(v, 1.0F) << name;
  }
}

TEST(Initialization, ADivisorDividesTheBound) {
  model::TensorSpec spec{"encoder.layers.3.linear1.weight", {256, 64}};
  spec.initial_divisor = 2;
  Floats halved(static_cast<std::size_t>(spec.count()));
  initialize_elements(spec, 1, 64, 0, spec.count(), halved.data());
  const Floats whole = initial(spec.name, spec.shape);
  for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_EQ(halved[i], whole[i] / 2) << i;
}

TEST(Initialization, AnySliceHasTheBitsOfTheWhole) {
  for (const char* name :
       {"encoder.layers.0.linear1.weight", "source_embedding.weight", "output_projection.weight"}) {
    const model::TensorSpec spec{name, {37, 64}};
    const Floats whole = initial(name, {37, 64});
    for (const auto& [begin, count] :
         {std::pair{0, 100}, {1, 255}, {256, 256}, {2000, 368}, {2367, 1}}) {
      Floats part(static_cast<std::size_t>(count));
      initialize_elements(spec, 1, 64, begin, count, part.data());
      EXPECT_EQ(std::memcmp(part.data(), whole.data() + begin, part.size() * sizeof(float)), 0)
          << name << " from " << begin;
    }
  }
}

TEST(Initialization, SeedAndNameDecideTheValues) {
  const Floats a = initial("encoder.layers.0.linear1.weight", {64, 64});
  EXPECT_EQ(a, initial("encoder.layers.0.linear1.weight", {64, 64}));
  EXPECT_NE(a, initial("encoder.layers.0.linear1.weight", {64, 64}, 2));
  EXPECT_NE(a, initial("encoder.layers.1.linear1.weight", {64, 64}));
}

TEST(Initialization, TensorsOfUnlikeNamesAreUncorrelated) {
  const Floats a = initial("encoder.layers.0.linear1.weight", {64, 64}),
               b = initial("encoder.layers.1.linear1.weight", {64, 64});
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  EXPECT_LT(std::abs(product / static_cast<double>(a.size())),
            4 * deviation(a) * deviation(b) / std::sqrt(static_cast<double>(a.size())));
}

}  // namespace
}  // namespace th::model
