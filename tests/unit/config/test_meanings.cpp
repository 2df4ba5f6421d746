#include "config/meanings.hpp"

#include <gtest/gtest.h>

#include "loading.hpp"

// Words that stand for a number, and what a resume makes of them.
namespace th::config::test {
namespace {

using runtime::Nesterov;

TEST(Meanings, OfAutoAreThoseOfTheRules) {
  const runtime::StepNumbers usual{};
  const runtime::Muon::Matrix muon = runtime::Muon::matrix(usual, 4, 4);
  EXPECT_EQ(static_cast<float>(usual_momentum(OptimizerKind::kMuon)), muon.momentum);
  EXPECT_EQ(usual_nesterov(OptimizerKind::kMuon, 0.95) == Nesterov::kTrue, muon.nesterov);
  EXPECT_EQ(runtime::chosen_rule(OptimizerKind::kSgd, usual.settings), OptimizerKind::kSgd)
      << "without momentum";
  EXPECT_EQ(usual_momentum(OptimizerKind::kSgd), 0);
  EXPECT_EQ(runtime::SgdMomentum::factors(usual).of_gradient, 0) << "no Nesterov";
  EXPECT_EQ(usual_nesterov(OptimizerKind::kSgd, 0.9), Nesterov::kFalse);
  EXPECT_EQ(usual_nesterov(OptimizerKind::kMuon, 0), Nesterov::kFalse);
  EXPECT_LT(usual_momentum(OptimizerKind::kAdam), 0);
}

Lines told(const LoadedDeck& before, const LoadedDeck& given) {
  Lines out;
  for (const KeyDifference& d : compare_for_resume(resolved_text(before), given))
    out.push_back(d.key + ": " + d.checkpoint + " / " + d.given + (d.fatal ? " !" : ""));
  return out;
}

LoadedDeck with(const Overrides& words) {
  Overrides all = words;
  all.emplace_back("optimizer.lr=0.02");
  return load(kSound, all);
}

TEST(Meanings, ThatAreTheSameAreNoDifferenceForAResume) {
  const std::pair<Overrides, Overrides> same[] = {
      {{"optimizer.name=muon", "optimizer.nesterov=true"}, {"optimizer.name=muon"}},
      {{"optimizer.name=muon", "optimizer.momentum=0.95"}, {"optimizer.name=muon"}},
      {{"optimizer.name=muon", "optimizer.adam_lr=0.02"}, {"optimizer.name=muon"}},
      {{"optimizer.name=sgd", "optimizer.momentum=0"}, {"optimizer.name=sgd"}},
      {{"optimizer.name=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=false"},
       {"optimizer.name=sgd", "optimizer.momentum=0.9"}},
      {{"model.tie_embeddings=all", "data.joint_vocabulary=true"}, {"model.tie_embeddings=all"}},
      {{"data.joint_vocabulary=false"}, {}},
      {{"valid.best_metric=loss"}, {}},
      {{"model.activation_dropout=0.1"}, {}},
      {{"summarization.chunk=100"}, {}},
      {{"summarization.overlap=25"}, {}}};
  for (const auto& [a, b] : same) {
    EXPECT_EQ(told(with(a), with(b)), Lines()) << a.back();
    EXPECT_EQ(told(with(b), with(a)), Lines()) << a.back();
  }
}

TEST(Meanings, AreToldWhereTheyDiffer) {
  const Lines sgd{"optimizer.momentum: 0.9 / auto, which is 0 !"};
  EXPECT_EQ(
      told(with({"optimizer.name=sgd", "optimizer.momentum=0.9"}), with({"optimizer.name=sgd"})),
      sgd);
  EXPECT_EQ(told(with({"optimizer.name=muon"}),
                 with({"optimizer.name=muon", "optimizer.nesterov=false"})),
            Lines{"optimizer.nesterov: auto, which is true / false"});
  EXPECT_EQ(told(with({"model.attention_dropout=0.3"}), with({})),
            Lines{"model.attention_dropout: 0.3 / model.dropout, which is 0.1 !"});
  EXPECT_EQ(told(with({}), with({"data.max_target_length=50"})),
            Lines{"data.max_target_length: data.max_length, which is 100 / 50 !"});
  EXPECT_EQ(told(with({}), with({"data.joint_vocabulary=true"})),
            Lines{"data.joint_vocabulary: auto, which is false / true !"});
  EXPECT_EQ(told(with({}), with({"run.gemm=mkl"})), Lines{"run.gemm: auto / mkl"})
      << "what the processor decides is not known here";
}

}  // namespace
}  // namespace th::config::test
