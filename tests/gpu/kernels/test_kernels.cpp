#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/kernels.hpp"
#include "gpu/device/gpu_memory.hpp"
#include "gpu/device/gpu_test.hpp"
#include "gpu/kernels/cpu_reference.hpp"
#include "gpu/kernels/step_of_records.hpp"

#include <bit>

// The kernels on a GPU against the engine's code on the CPU: equal bits, so no tolerance.
namespace th::cuda {
namespace {

using reference::random_values;

template <class T>
using OnDevice = GpuArray<T>;

constexpr std::int64_t kCount = 5'000'003;  // more than one turn of the largest grid, and ragged

TEST(Kernels, AdamHasTheBitsOfTheCpu) {
  const Stream stream;
  for (const zero::OptimizerStep& step : reference::adam_steps()) {
    std::vector<float> p = random_values(kCount, 1, 1), m = random_values(kCount, 3, 0.1),
                       v = random_values(kCount, 4, 0.01);
    const std::vector<float> g = random_values(kCount, 2, 3);
    std::transform(v.begin(), v.end(), v.begin(), [](float x) { return std::fabs(x); });
    const OnDevice<float> dp(p), dg(g), dm(m), dv(v);
    const runtime::UpdateFactors factors = zero::update_factors(step);
    update(factors, reference::operands(dp.get(), dg.get(), dm.get(), dv.get(), kCount),
           stream.get());
    zero::apply_update(factors,
                       reference::operands(p.data(), g.data(), m.data(), v.data(), kCount));
    EXPECT_TRUE(dp.values() == p);
    EXPECT_TRUE(dm.values() == m);
    EXPECT_TRUE(dv.values() == v);
  }
}

TEST(Kernels, SgdHasTheBitsOfTheCpu) {
  const Stream stream;
  const zero::OptimizerStep step = reference::sgd_step();
  std::vector<float> p = random_values(kCount, 1, 1);
  const std::vector<float> g = random_values(kCount, 2, 3);
  const OnDevice<float> dp(p), dg(g);
  const runtime::UpdateFactors factors = zero::update_factors(step);
  update(factors, reference::operands(dp.get(), dg.get(), nullptr, nullptr, kCount), stream.get());
  zero::apply_update(factors, reference::operands(p.data(), g.data(), nullptr, nullptr, kCount));
  EXPECT_TRUE(dp.values() == p);
}

/// The tree on the device in rounds of `ranks`, with a buffer for each level.
std::vector<float> tree_on_device(const std::vector<std::vector<float>>& leaves,
                                  std::int64_t ranks) {
  const Stream stream;
  const std::int64_t slots = std::ssize(leaves), count = std::ssize(leaves[0]);
  std::vector<OnDevice<float>> slot_data, pending;
  for (const auto& leaf : leaves) slot_data.emplace_back(leaf);
  for (int l = 0; l < 12; ++l) pending.emplace_back(std::vector<float>(leaves[0].size()));
  for (std::int64_t first = 0; first < slots; first += ranks) {
    runtime::TreeSum sum;
    std::vector<runtime::TreeLeaf> pieces;
    for (std::int64_t s = first; s < std::min(slots, first + ranks); ++s)
      pieces.push_back({slot_data[static_cast<std::size_t>(s)].get(), 1});
    sum.first_slot = first;
    sum.count = count;
    sum.leaves = pieces;
    for (std::size_t l = 0; l < pending.size(); ++l)
      sum.pending_before[l] = sum.pending_after[l] = pending[l].get();
    if (first + ranks >= slots)
      sum.out = slot_data[static_cast<std::size_t>(slots - 1)].get();  // `out` may be a piece
    tree_sum(sum, stream.get());
  }
  return slot_data.back().values();
}

TEST(Kernels, TreeSumHasTheBitsOfTheCpuHoweverTheSlotsAreDealt) {
  for (const std::int64_t slots : {1, 2, 3, 5, 8, 13, 24, 64, 100, 300}) {
    const std::vector<std::vector<float>> leaves = reference::leaves(slots, 3001);
    const std::vector<float> cpu = reference::tree_sum(leaves, slots);
    for (const std::int64_t ranks : {std::int64_t{1}, std::int64_t{3}, std::int64_t{8}, slots}) {
      EXPECT_TRUE(tree_on_device(leaves, ranks) == cpu) << slots << " slots, " << ranks << " ranks";
    }
  }
}

TEST(Kernels, BlockSquareSumsHaveTheBitsOfTheCpu) {
  const Stream stream;
  for (const std::int64_t blocks :
       {std::int64_t{1}, std::int64_t{5}, std::int64_t{33}, std::int64_t{600001}}) {
    const std::vector<float> x = random_values(blocks * kNormBlock, 5, 1);
    std::vector<double> cpu(static_cast<std::size_t>(blocks));
    zero::block_square_sums(x.data(), blocks, cpu.data());
    const OnDevice<float> dx(x);
    const OnDevice<double> sums(std::vector<double>(cpu.size(), -1.0));
    block_square_sums(dx.get(), ElementType::kFp32, blocks, sums.get(), stream.get());
    EXPECT_TRUE(sums.values() == cpu) << blocks << " blocks";
  }
}

TEST(Kernels, TheEndOfAStepIsThatOfItsStrandsOnTheHost) {
  const Stream stream;
  for (const std::int64_t ranks : {1, 4}) {
    for (const int bad : {-1, 5, 700}) {
      const reference::StepOfRecords data(ranks, bad);
      const OnDevice<double> records(data.records());
      const OnDevice<float> first(data.gradient(0)), second(data.gradient(1));
      const OnDevice<runtime::StepOutcome> outcome(std::vector<runtime::StepOutcome>(1));
      runtime::StepRecords step = data.step();
      std::vector<runtime::StepRecords::Unit> units(step.units.begin(), step.units.end());
      units[0].gradient = first.get();
      units[1].gradient = second.get();
      step.units = units;
      step.records = records.get();
      step.outcome = outcome.get();
      end_step(step, stream.get());
      const runtime::StepOutcome seen = outcome.values()[0],
                                 expected = reference::end_of_step_in_strands(data.step());
      EXPECT_EQ(std::bit_cast<std::uint64_t>(seen.grad_norm),
                std::bit_cast<std::uint64_t>(expected.grad_norm))
          << ranks << " ranks";
      EXPECT_EQ(seen.loss_sum, expected.loss_sum);
      EXPECT_EQ(seen.gradient_factor, bad < 0 ? expected.gradient_factor : seen.gradient_factor);
      EXPECT_EQ(seen.finite, expected.finite);
      EXPECT_EQ(seen.bad_unit, expected.bad_unit);
      EXPECT_EQ(seen.bad_element, expected.bad_element) << ranks << " ranks, block " << bad;
    }
  }
}

}  // namespace
}  // namespace th::cuda

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const std::string reason = th::cuda::reason_to_skip(1); !reason.empty())
    return th::cuda::skip(reason);
  return RUN_ALL_TESTS();
}
