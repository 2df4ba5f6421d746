#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/host_lanes.hpp"
#include "gpu/kernels/cpu_reference.hpp"
#include "gpu/kernels/step_of_records.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>

// The kernels' arithmetic, run on the CPU, against the engine's own code: equal bits, so no
// tolerance.
namespace th::cuda {
namespace {

using reference::random_values;

TEST(Elementwise, AdamHasTheBitsOfTheEngineForEveryKindOfOptimizer) {
  for (const zero::OptimizerStep& step : reference::adam_steps()) {
    std::vector<float> p = random_values(5000, 1, 1), g = random_values(5000, 2, 3),
                       m = random_values(5000, 3, 0.1), v = random_values(5000, 4, 0.01);
    std::transform(v.begin(), v.end(), v.begin(), [](float x) { return std::fabs(x); });
    std::vector<float> cpu_p = p, cpu_m = m, cpu_v = v;
    const runtime::UpdateFactors factors = zero::update_factors(step);
    zero::apply_update(
        factors, reference::operands(cpu_p.data(), g.data(), cpu_m.data(), cpu_v.data(), 5000));
    launch_update<HostLaunch<CpuOrder>>(
        factors, reference::operands(p.data(), g.data(), m.data(), v.data(), 5000), nullptr);
    EXPECT_EQ(p, cpu_p);
    EXPECT_EQ(m, cpu_m);
    EXPECT_EQ(v, cpu_v);
  }
}

TEST(Elementwise, SgdHasTheBitsOfTheEngine) {
  const zero::OptimizerStep step = reference::sgd_step();
  std::vector<float> p = random_values(5000, 1, 1), cpu = p;
  const std::vector<float> g = random_values(5000, 2, 3);
  const runtime::UpdateFactors factors = zero::update_factors(step);
  zero::apply_update(factors, reference::operands(cpu.data(), g.data(), nullptr, nullptr, 5000));
  launch_update<HostLaunch<CpuOrder>>(
      factors, reference::operands(p.data(), g.data(), nullptr, nullptr, 5000), nullptr);
  EXPECT_EQ(p, cpu);
}

TEST(Elementwise, UpdatesOfEveryTypeHaveTheBitsOfTheEngine) {
  constexpr std::int64_t kCount = 3000;
  const std::vector<float> values = random_values(kCount, 2, 3);
  std::vector<zero::OptimizerStep> steps = reference::adam_steps();
  steps.push_back(reference::sgd_step());
  for (const zero::OptimizerStep& step : steps) {
    for (const ElementType gradient_type :
         {ElementType::kFp32, ElementType::kBf16, ElementType::kFp16}) {
      for (const ElementType working_type :
           {ElementType::kFp32, ElementType::kBf16, ElementType::kFp16}) {
        std::vector<std::byte> gradients(kCount * 4);
        if (gradient_type == ElementType::kFp32) {
          std::memcpy(gradients.data(), values.data(), gradients.size());
        } else {
          zero::round_elements(values.data(), gradient_type, gradients.data(), kCount);
        }
        struct State {
          std::vector<float> p = random_values(kCount, 1, 1), m = random_values(kCount, 3, 0.1),
                             v = std::vector<float>(kCount, 0.01F);
          std::vector<std::uint16_t> working = std::vector<std::uint16_t>(kCount);
          bool operator==(const State&) const = default;
        };
        State engine, body;
        const auto operands = [&](State& s) {
          void* working = working_type == ElementType::kFp32 ? nullptr : s.working.data();
          return runtime::UpdateOperands{.weights = s.p.data(),
                                         .gradients = gradients.data(),
                                         .states = {s.m.data(), s.v.data()},
                                         .working = working,
                                         .count = kCount,
                                         .gradient_type = gradient_type,
                                         .working_type = working_type};
        };
        zero::apply_update(zero::update_factors(step), operands(engine));
        launch_update<HostLaunch<CpuOrder>>(zero::update_factors(step), operands(body), nullptr);
        EXPECT_TRUE(engine == body) << "gradients " << static_cast<int>(gradient_type)
                                    << ", working " << static_cast<int>(working_type);
      }
    }
  }
}

TEST(Elementwise, AnUpdateTakesItsFactorFromAStepsOutcome) {
  constexpr std::int64_t kCount = 100;
  for (const zero::OptimizerStep& step : {reference::adam_steps().front(), reference::sgd_step()}) {
    const std::vector<float> start = reference::random_values(kCount, 1, 1),
                             g = reference::random_values(kCount, 2, 1), zeros(kCount);
    const auto updated = [&](const runtime::UpdateFactors& factors,
                             const runtime::StepOutcome* outcome, bool by_body) {
      std::vector<float> p = start, m = zeros, v = zeros;
      const runtime::UpdateOperands o{.weights = p.data(),
                                      .gradients = g.data(),
                                      .states = {m.data(), v.data()},
                                      .working = nullptr,
                                      .count = kCount,
                                      .gradient_type = ElementType::kFp32,
                                      .working_type = ElementType::kFp32,
                                      .outcome = outcome};
      by_body ? launch_update<HostLaunch<CpuOrder>>(factors, o, nullptr)
              : zero::apply_update(factors, o);
      return p;
    };
    zero::OptimizerStep clipped = step;
    clipped.gradient_factor = 0.25;
    runtime::StepOutcome outcome;
    outcome.gradient_factor = 0.25F;
    runtime::StepOutcome not_finite = outcome;
    not_finite.finite = 0;
    for (const bool by_body : {false, true}) {
      EXPECT_EQ(updated(zero::update_factors(step), &outcome, by_body),
                updated(zero::update_factors(clipped), nullptr, by_body));
      EXPECT_EQ(updated(zero::update_factors(step), &not_finite, by_body), start);
    }
  }
}

TEST(Elementwise, TheNormsStrandsAreThoseOfAnyRankCount) {
  for (const int bad : {-1, 5, 700}) {
    const reference::StepOfRecords one(1, bad), four(4, bad);
    const runtime::StepOutcome alone = reference::end_of_step_in_strands(one.step()),
                               among = reference::end_of_step_in_strands(four.step());
    EXPECT_EQ(std::bit_cast<std::uint64_t>(alone.grad_norm),
              std::bit_cast<std::uint64_t>(among.grad_norm));
    runtime::StepOutcome cpu;
    runtime::StepRecords of_cpu = one.step();
    of_cpu.outcome = &cpu;
    zero::end_step(of_cpu);
    EXPECT_EQ(alone.loss_sum, cpu.loss_sum);
    EXPECT_EQ(alone.finite, cpu.finite);
    EXPECT_EQ(alone.bad_unit, cpu.bad_unit);
    EXPECT_EQ(alone.bad_element, cpu.bad_element);
    EXPECT_EQ(cpu.finite == 1, bad < 0);
    if (bad >= 0) continue;
    EXPECT_NEAR(alone.grad_norm, cpu.grad_norm, 1e-12 * cpu.grad_norm);
    EXPECT_EQ(alone.gradient_factor, cpu.gradient_factor);
  }
}

TEST(Elementwise, TreeHasTheBitsOfTheSlotTreeForEveryNumberOfSlots) {
  constexpr std::int64_t kCount = 40;
  for (std::int64_t slots = 1; slots <= 70; ++slots) {
    const std::vector<std::vector<float>> leaves = reference::leaves(slots, kCount);
    const std::vector<float> cpu = reference::tree_sum(leaves, slots);
    for (std::size_t i = 0; i < kCount; ++i) {
      float level[7] = {};
      for (std::size_t s = 0; s < leaves.size(); ++s)
        push_slot(level, static_cast<std::uint32_t>(s), leaves[s][i]);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(tree_total(level, static_cast<std::uint32_t>(slots))),
                std::bit_cast<std::uint32_t>(cpu[i]))
          << slots;
    }
  }
}

TEST(Elementwise, BlockSquareSumsHaveTheBitsOfTheEngine) {
  const std::vector<float> x = random_values(kNormBlock * 9, 5, 1);
  std::vector<double> cpu(9);
  zero::block_square_sums(x.data(), 9, cpu.data());
  for (std::size_t b = 0; b < cpu.size(); ++b) {
    double lanes[kNormLanes];
    for (int l = 0; l < kNormLanes; ++l) lanes[l] = square_lane(x.data() + b * kNormBlock, l);
    for (const int distance : {4, 2, 1}) {  // what the kernel's shuffles do
      for (int l = 0; l < distance; ++l) lanes[l] += lanes[l + distance];
    }
    EXPECT_EQ(lanes[0], cpu[b]);
  }
}

}  // namespace
}  // namespace th::cuda
