// Memory of saving and loading by the ledger's events: one unit's slice beside the state, or one
// copy of the state for a save in the background, as planned.
#include <gtest/gtest.h>

#include "mpi_test.hpp"
#include "small_run.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/checkpointing.hpp"
#include "th/zero/memory_plan.hpp"

namespace {

using th::runtime::MemoryClass;
using th::runtime::MemoryLedger;
using th::runtime::MemoryUse;
using th::train::CheckpointSaver;

constexpr std::int64_t kWidth = 128;
// Of the staging class, as for the plan's total: names and shapes of the layout are not planned.
constexpr double kTolerance = 0.05;

class CheckpointMemory : public testing::TestWithParam<std::int64_t> {
 protected:
  CheckpointMemory()
      : collectives_(th::runtime::make_mpi_collectives(MPI_COMM_WORLD)),
        folder_(*collectives_),
        run_(SmallRun::make_config(kWidth, GetParam()), *collectives_) {}

  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
    th::model::observe_torch_memory();
    (void)run_.train(1);
  }

  /// What the plan has for a phase beside the phase without checkpoints.
  std::int64_t planned(const char* phase, bool background) const {
    th::zero::PlanRequest request;
    request.config = run_.config;
    request.config.checkpoint.async = background;
    request.source_vocabulary = request.target_vocabulary = SmallRun::kVocabulary;
    request.longest = 16;
    request.ranks = collectives_->size();
    request.slots = SmallRun::kSlots;
    request.saves = request.resumes = true;
    for (const auto& p : th::zero::plan_memory(request).phases) {
      if (p.name == phase) return p.use[MemoryClass::kCheckpointStaging];
    }
    return -1;
  }

  template <class Body>
  static double measured(const Body& body) {
    MemoryLedger::process().restart();
    body();
    const MemoryUse use = MemoryLedger::process().at_peak();
    EXPECT_EQ(use[MemoryClass::kUntagged], 0) << "bytes that nobody planned";
    EXPECT_EQ(use.total(), use[MemoryClass::kCheckpointStaging])
        << "beside the state there is the staging buffer alone";
    return static_cast<double>(use[MemoryClass::kCheckpointStaging]);
  }

  std::unique_ptr<th::runtime::Collectives> collectives_;
  SharedFolder folder_;
  SmallRun run_;
};

TEST_P(CheckpointMemory, OneUnitForALoadAndAWaitingSaveOneCopyInTheBackground) {
  const th::zero::FlatLayout& layout = run_.engine.layout();
  std::int64_t largest = 0;
  for (const auto& unit : layout.units()) largest = std::max(largest, unit.shard);
  const double unit = 4.0 * static_cast<double>(largest),
               copy = 12.0 * static_cast<double>(layout.shard_total());
  EXPECT_EQ(static_cast<double>(planned("checkpoint", false)), unit);
  EXPECT_EQ(static_cast<double>(planned("resume", false)), unit);
  EXPECT_EQ(static_cast<double>(planned("update", true)), copy);
  EXPECT_LT(unit, 0.25 * copy) << "a model whose largest unit is most of it proves nothing";

  CheckpointSaver waiting(collectives_->control(), folder_.path(), {},
                          CheckpointSaver::Mode::kWait);
  EXPECT_NEAR(measured([&] { waiting.save(run_.engine, run_.info(1), {}); }) / unit, 1.0,
              kTolerance);
  const th::io::CheckpointReader reader(folder_.path() + "/" + th::io::step_name(1));
  SmallRun other(run_.config, *collectives_);
  EXPECT_NEAR(measured([&] {
                load_checkpoint(reader, other.engine, collectives_->control(),
                                th::train::LoadWhat::kEverything);
              }) / unit,
              1.0, kTolerance);
  EXPECT_EQ(other.state(), run_.state());
  CheckpointSaver background(collectives_->control(), folder_.path(), {},
                             CheckpointSaver::Mode::kBackground);
  EXPECT_NEAR(measured([&] {
                background.save(run_.engine, run_.info(2), {});
                background.finish();
              }) / copy,
              1.0, kTolerance);
}

TEST_P(CheckpointMemory, LoadOfAnotherRankCountTakesOneUnitToo) {
  // Every rank alone writes the same one-rank checkpoint's state; then all load it together.
  const std::string mine = folder_.path() + "/alone" + std::to_string(collectives_->rank());
  {
    const auto self = th::runtime::make_mpi_collectives(MPI_COMM_SELF);
    SmallRun alone(run_.config, *self);
    CheckpointSaver(self->control(), mine, {}, CheckpointSaver::Mode::kWait)
        .save(alone.engine, alone.info(1), {});
  }
  collectives_->barrier();
  const th::io::CheckpointReader reader(folder_.path() + "/alone0/" + th::io::step_name(1));
  double unit = 0;
  for (const auto& u : run_.engine.layout().units())
    unit = std::max(unit, 4.0 * static_cast<double>(u.shard));
  EXPECT_NEAR(measured([&] {
                load_checkpoint(reader, run_.engine, collectives_->control(),
                                th::train::LoadWhat::kEverything);
              }) / unit,
              1.0, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Stages, CheckpointMemory, testing::Values(0, 1, 3),
                         [](const auto& p) { return "stage" + std::to_string(p.param); });

}  // namespace

TH_MPI_TEST_MAIN
