#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/optimizers/optimizer_rules.hpp"

namespace th::runtime {
namespace {

std::vector<std::string> states_of(OptimizerKind kind) {
  const StateNames names = optimizer_states(kind);
  return {names.begin(), names.end()};
}

TEST(OptimizerRules, NamesAndStatesAreThoseOfDecksAndCheckpoints) {
  EXPECT_STREQ(optimizer_name(OptimizerKind::kAdam), "adam");
  EXPECT_STREQ(optimizer_name(OptimizerKind::kAdamw), "adamw");
  EXPECT_STREQ(optimizer_name(OptimizerKind::kSgd), "sgd");
  const std::vector<std::string> moments{"exp_avg", "exp_avg_sq"};
  EXPECT_EQ(states_of(OptimizerKind::kAdam), moments);
  EXPECT_EQ(states_of(OptimizerKind::kAdamw), moments);
  EXPECT_TRUE(states_of(OptimizerKind::kSgd).empty());
}

TEST(OptimizerRules, NoStateIsTwiceInARule) {
  for (std::size_t i = 0; i < kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    const std::vector<std::string> states = states_of(kind);
    EXPECT_EQ(std::set<std::string>(states.begin(), states.end()).size(), states.size());
    EXPECT_FALSE(std::count(states.begin(), states.end(), "parameters")) << "the weights' name";
  }
}

TEST(OptimizerRules, OfRulesOfOneNameTheSettingsChooseOne) {
  OptimizerSettings settings;
  for (std::size_t i = 0; i < kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    EXPECT_EQ(chosen_rule(kind, settings), first_of_name(kind)) << optimizer_name(kind);
  }
  settings.momentum = 0;
  EXPECT_EQ(chosen_rule(OptimizerKind::kSgd, settings), OptimizerKind::kSgd);
  settings.momentum = 0.9;
  EXPECT_EQ(chosen_rule(OptimizerKind::kSgd, settings), OptimizerKind::kSgdMomentum);
  EXPECT_EQ(states_of(OptimizerKind::kSgdMomentum), std::vector<std::string>{"momentum_buffer"});
  EXPECT_EQ(chosen_rule(OptimizerKind::kAdamw, settings), OptimizerKind::kAdamw);
}

TEST(OptimizerRules, OfMuonsStatesTwoAreTheFormulasAndOneIsTheMatrices) {
  const std::vector<std::string> all{"exp_avg", "exp_avg_sq", "momentum_buffer"};
  EXPECT_EQ(states_of(OptimizerKind::kMuon), all);
  EXPECT_EQ(element_states(OptimizerKind::kMuon), 2U);
  EXPECT_EQ(element_states(OptimizerKind::kAdam), 2U);
  EXPECT_EQ(element_states(OptimizerKind::kSgd), 0U);
  StepNumbers numbers;
  numbers.settings.adam_lr = 0.004;
  numbers.lr = 0.01;  // half of a deck's 0.02
  numbers.part = 0.5;
  StepNumbers adam = numbers;
  adam.lr = 0.002;
  EXPECT_EQ(Muon::factors(numbers).step_size, AdamW::factors(adam).step_size);
  numbers.settings.adam_lr = 0;
  EXPECT_EQ(Muon::factors(numbers).step_size, AdamW::factors(numbers).step_size);
}

TEST(OptimizerRules, EachReadsItsOwnSettings) {
  EXPECT_TRUE(optimizer_reads(OptimizerKind::kAdamw, &OptimizerSettings::eps));
  EXPECT_TRUE(optimizer_reads(OptimizerKind::kSgd, &OptimizerSettings::weight_decay));
  EXPECT_FALSE(optimizer_reads(OptimizerKind::kSgd, &OptimizerSettings::beta1));
}

TEST(OptimizerRules, FactorsAreThoseOfTheirRule) {
  for (std::size_t i = 0; i < kOptimizers; ++i) {
    const auto kind = static_cast<OptimizerKind>(i);
    const UpdateFactors factors = optimizer_factors(kind, {{}, 0.5, 1}, 0.25F);
    EXPECT_EQ(factors.kind(), kind);
    EXPECT_EQ(factors.gradient, 0.25F);
    std::string name;
    with_factors(factors, [&](auto rule, const auto&) { name = decltype(rule)::kName; });
    EXPECT_EQ(name, optimizer_name(kind));
  }
}

TEST(OptimizerRules, TheLedgerCallsAStateByTheRulesName) {
  const StateNames states = optimizer_states(OptimizerKind::kAdam);
  EXPECT_STREQ(memory_class_name(optimizer_state_class(0), states), "exp_avg");
  EXPECT_STREQ(memory_class_name(optimizer_state_class(1), states), "exp_avg_sq");
  EXPECT_STREQ(memory_class_name(optimizer_state_class(2), states), "optimizer state");
  EXPECT_STREQ(memory_class_name(MemoryClass::kGatherSlots, states), "gather slots");
  MemoryUse use;
  for (std::size_t s = 0; s < kMaxOptimizerStates; ++s) use[optimizer_state_class(s)] = 1;
  use[MemoryClass::kMaster] = 10;
  use[MemoryClass::kGatherSlots] = 100;
  EXPECT_EQ(use.optimizer_states(), static_cast<std::int64_t>(kMaxOptimizerStates));
  EXPECT_EQ(use.model_state(), 10 + static_cast<std::int64_t>(kMaxOptimizerStates));
}

}  // namespace
}  // namespace th::runtime
