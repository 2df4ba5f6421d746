// Kernels of int8 and bf16, each set of instructions that this processor has.
#include <gtest/gtest.h>

#include "model/products/kernels/int8_kernel.hpp"
#include "model/products/kernels/row_kernel.hpp"
#include "th/base/build_info.hpp"
#include "unit/model/tensors.hpp"

#include <limits>
#include <random>
#include <string>
#include <vector>

namespace th::model {
namespace {

#if defined(__x86_64__)

struct Bf16Kernel {
  std::string name;
  Bf16Multiply multiply;
};

std::vector<Bf16Kernel> bf16_kernels() {
  std::vector<Bf16Kernel> out;
  if (instruction_set() != "avx512") return out;
  if (has_bf16_instructions()) out.push_back({"avx512_bf16", avx512_bf16::multiply_bf16});
  if (has_amx_instructions()) out.push_back({"amx", amx::multiply_bf16});
  return out;
}

/// y of all rows by the kernel, of x [M, K] and a weight [N, K], K a multiple of 32.
at::Tensor product(const Bf16Kernel& kernel, const at::Tensor& x, const at::Tensor& weight,
                   const at::Tensor& bias) {
  const std::int64_t outputs = weight.size(0), pairs = x.size(1) / 2;
  constexpr std::int64_t kGroup = kBf16Panels * kRowPanel;
  std::vector<float> panels(
      static_cast<std::size_t>(panel_floats((outputs + kGroup - 1) / kGroup * kGroup, pairs)));
  row_kernels()->make_panels({.weight = static_cast<const float*>(weight.data_ptr()),
                              .stride = pairs,
                              .inputs = pairs,
                              .last = outputs,
                              .panels = panels.data()});
  at::Tensor y = at::empty({x.size(0), outputs}, x.options());
  kernel.multiply({.x = static_cast<const Bf16*>(x.data_ptr()),
                   .x_stride = x.stride(0),
                   .panels = panels.data(),
                   .bias = static_cast<const Bf16*>(bias.data_ptr()),
                   .y = static_cast<Bf16*>(y.data_ptr()),
                   .y_stride = y.stride(0),
                   .rows = x.size(0),
                   .inputs = pairs,
                   .last = outputs});
  return y;
}

TEST(NarrowKernels, Bf16IsTheProductRoundedOnceAndARowIsItsOwn) {
  if (bf16_kernels().empty()) GTEST_SKIP() << "the processor has no bf16 instructions";
  for (const Bf16Kernel& kernel : bf16_kernels()) {
    for (const auto& [m, k, n] :
         {std::array{1L, 32L, 1L}, {16L, 64L, 16L}, {33L, 96L, 40L}, {75L, 512L, 129L}}) {
      SCOPED_TRACE(kernel.name + " " + std::to_string(m) + " " + std::to_string(k));
      const at::Tensor x = test::normal({m, k}, 1).to(at::kBFloat16),
                       weight = test::normal({n, k}, 2).to(at::kBFloat16),
                       bias = test::normal({n}, 3).to(at::kBFloat16);
      const at::Tensor y = product(kernel, x, weight, bias);
      const at::Tensor want =
          at::addmm(bias.to(at::kDouble), x.to(at::kDouble), weight.to(at::kDouble).t());
      EXPECT_LT(test::relative_error(y, want), 0x1p-8);
      for (std::int64_t row = 0; row < m; row += 5)
        EXPECT_TRUE(test::same_bits(product(kernel, x.narrow(0, row, 1), weight, bias),
                                    y.narrow(0, row, 1)))
            << row;
    }
  }
}

TEST(NarrowKernels, Bf16RoundsToTheNearestAndTiesToEven) {
  if (bf16_kernels().empty()) GTEST_SKIP() << "the processor has no bf16 instructions";
  // Inputs are 1, 0, …: an output is its first weight plus its bias, in fp32, rounded.
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<float, float>> sums{{1, 0x1p-8F},           {1, 0x3p-8F},
                                                  {1, 0x1p-9F},           {1, 0x3p-9F},
                                                  {-1, -0x3p-8F},         {1, -1},
                                                  {infinity, -1},         {infinity, -infinity},
                                                  {-infinity, 2},         {0x1.fep127F, 0x1p119F},
                                                  {0x1p-120F, 1e-38F},    {0.5F, 3},
                                                  {0x1.fep127F, 0x1p118F}};
  const auto n = static_cast<std::int64_t>(sums.size());
  for (const std::int64_t outputs : {n, n + 16, 2 * n}) {
    at::Tensor x = at::zeros({2, 32}, at::kBFloat16), bias = at::zeros({outputs}, at::kBFloat16);
    at::Tensor weight = at::zeros({outputs, 32}, at::kBFloat16);
    x.select(1, 0).fill_(1);
    for (std::int64_t i = 0; i < outputs; ++i) {
      weight[i][0] = sums[static_cast<std::size_t>(i % n)].first;
      bias[i] = sums[static_cast<std::size_t>(i % n)].second;
    }
    const at::Tensor want = weight.select(1, 0).to(at::kFloat).add(bias.to(at::kFloat));
    for (const Bf16Kernel& kernel : bf16_kernels()) {
      const at::Tensor y = product(kernel, x, weight, bias);
      for (std::int64_t i = 0; i < 2 * outputs; ++i) {
        const auto got = static_cast<const Bf16*>(y.data_ptr())[i];
        const float sum = want.data_ptr<float>()[i % outputs];
        EXPECT_EQ(got.bits, from_float<Bf16>(sum).bits) << kernel.name << " " << i << " " << sum;
      }
    }
  }
}

TEST(NarrowKernels, TilesGiveTheSumsOfInt8ThatVnniGives) {
  if (int8_multiply() == nullptr || !has_amx_instructions())
    GTEST_SKIP() << "the processor has no AMX";
  std::mt19937 random(5);
  std::uniform_int_distribution<int> byte(0, 255);
  for (const auto& [m, k, n] :
       {std::array{1L, 4L, 1L}, {15L, 64L, 31L}, {17L, 200L, 33L}, {70L, 2048L, 96L}}) {
    const std::int64_t stride = int8_stride(k), all = int8_outputs(n);
    std::vector<std::uint8_t> x(static_cast<std::size_t>(m * stride));
    std::vector<std::int8_t> weight(static_cast<std::size_t>(all * stride));
    for (auto& value : x) value = static_cast<std::uint8_t>(byte(random));
    for (auto& value : weight) value = static_cast<std::int8_t>(byte(random) - 128);
    const std::vector<float> scale(static_cast<std::size_t>(std::max(m, all)), 1.0F);
    const std::vector<std::int32_t> sums(static_cast<std::size_t>(all), 7);
    std::vector<float> vnni(static_cast<std::size_t>(m * n)), tiles = vnni;
    Int8Product product{.x = x.data(),
                        .x_scale = scale.data(),
                        .weight = weight.data(),
                        .weight_scale = scale.data(),
                        .weight_sums = sums.data(),
                        .y = vnni.data(),
                        .y_stride = n,
                        .rows = m,
                        .stride = stride,
                        .last = n};
    avx512_vnni::multiply_int8(product);
    product.y = tiles.data();
    amx::multiply_int8(product);
    EXPECT_EQ(vnni, tiles) << m << " " << k << " " << n;
  }
}

#endif

}  // namespace
}  // namespace th::model
