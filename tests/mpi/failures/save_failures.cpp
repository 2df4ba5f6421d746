// A save that fails at any of its steps, on any rank: the error reaches every rank, and what a
// resume finds is whole and goes on bit for bit.
#include <gtest/gtest.h>

#include "mpi_test.hpp"
#include "small_run.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/failure_point.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/train/checkpointing.hpp"

namespace {

namespace fs = std::filesystem;
using th::io::FailurePoint;
using th::train::CheckpointSaver;

class SaveFailures : public testing::TestWithParam<CheckpointSaver::Mode> {
 protected:
  SaveFailures()
      : collectives_(th::runtime::make_mpi_collectives(MPI_COMM_WORLD)),
        folder_(*collectives_),
        run_(SmallRun::make_config(8, 2), *collectives_) {}

  CheckpointSaver saver(const std::string& folder) {
    return {collectives_->control(), folder, th::io::Retention{.keep_last = 1}, GetParam()};
  }

  /// A folder with checkpoint 1 alone, as if the run had just made it. Collective.
  std::string prepared(const std::string& name) {
    const std::string path = folder_.path() + "/" + name;
    if (collectives_->rank() == 0)
      fs::copy(folder_.path() + "/first", path, fs::copy_options::recursive);
    collectives_->barrier();
    return path;
  }

  /// Saves step 2 with the nth point of one rank armed; what every rank says, by rank.
  std::vector<std::string> save_and_fail(const std::string& folder, int victim, std::int64_t nth) {
    std::string said;
    if (collectives_->rank() == victim) FailurePoint::arm(nth, FailurePoint::Action::kThrow);
    try {
      CheckpointSaver s = saver(folder);
      s.save(run_.engine, run_.info(2), {});
      s.finish();
    } catch (const th::Error& error) {
      EXPECT_EQ(error.exit_code(), th::ExitCode::kCheckpoint);
      said = error.what();
    }
    FailurePoint::disarm();
    return collectives_->control().gather_texts(said);
  }

  std::unique_ptr<th::runtime::Collectives> collectives_;
  SharedFolder folder_;
  SmallRun run_;
};

TEST_P(SaveFailures, EveryPointLeavesAWholeCheckpointThatGoesOnBitForBit) {
  std::vector<float> states[3];
  (void)run_.train(1);
  states[1] = run_.state();
  {
    CheckpointSaver s = saver(folder_.path() + "/first");
    s.save(run_.engine, run_.info(1), {});
    s.finish();
  }
  const double loss = run_.train(2);
  states[2] = run_.state();
  SmallRun ahead(run_.config, *collectives_);
  std::int64_t points = 0, kept_first = 0;
  for (int victim = 0; victim < collectives_->size(); ++victim) {
    for (std::int64_t nth = 1;; ++nth) {
      SCOPED_TRACE("point " + std::to_string(nth) + " of rank " + std::to_string(victim));
      const std::string folder = prepared(std::to_string(victim) + "." + std::to_string(nth));
      const std::vector<std::string> said = save_and_fail(folder, victim, nth);
      for (const std::string& text : said)
        ASSERT_EQ(text, said[0]) << "not every rank has the same error";
      std::vector<std::string> notes, damaged;
      const auto reader =
          th::train::open_latest(collectives_->control(), folder, "", notes, damaged);
      ASSERT_NE(reader, nullptr);
      ASSERT_EQ(notes, std::vector<std::string>{}) << "a failed save left a damaged checkpoint";
      const std::int64_t step = reader->info().step;
      ASSERT_TRUE(step == 2 || (step == 1 && !said[0].empty()));
      load_checkpoint(*reader, ahead.engine, collectives_->control(),
                      th::train::LoadWhat::kEverything, th::train::Checksums::kCheckedBefore);
      ASSERT_EQ(ahead.state(), states[step]);
      if (step == 1) {
        ASSERT_EQ(ahead.train(2), loss);
        ASSERT_EQ(ahead.state(), states[2]);
        ++kept_first;
      }
      if (said[0].empty()) break;  // the save has fewer points than that
      ASSERT_NE(said[0].find("failure point " + std::to_string(nth) + ", "), std::string::npos)
          << said[0];
      ++points;
      // The next save needs no help.
      ASSERT_EQ(save_and_fail(folder, 0, 1 << 20)[0], "");
      ASSERT_EQ(
          th::train::open_latest(collectives_->control(), folder, "", notes, damaged)->info().step,
          2);
    }
  }
  EXPECT_GE(points, 50);
  EXPECT_GE(kept_first, 40) << "most points come before the rename";
  if (collectives_->rank() == 0) std::printf("%lld points\n", static_cast<long long>(points));
}

TEST_P(SaveFailures, LaterSaveAfterAFailedOneOfTheSameSaverSucceeds) {
  const std::string folder = folder_.path() + "/again";
  CheckpointSaver s = saver(folder);
  const int last = collectives_->size() - 1;
  if (collectives_->rank() == last) FailurePoint::arm(6, FailurePoint::Action::kThrow);
  std::string said;
  try {
    s.save(run_.engine, run_.info(5), {});
    s.finish();
  } catch (const th::Error& error) {
    said = error.what();
  }
  FailurePoint::disarm();
  collectives_->barrier();  // rank 0 cleans up
  EXPECT_NE(said.find("step 5 could not be saved: failure point 6"), std::string::npos) << said;
  EXPECT_FALSE(fs::exists(folder + "/.tmp_step_00000005")) << "a failed save gives its space back";
  s.save(run_.engine, run_.info(6), {});
  s.finish();
  std::vector<std::string> notes;
  EXPECT_EQ(th::io::find_latest(folder, notes), folder + "/step_00000006");
}

INSTANTIATE_TEST_SUITE_P(Modes, SaveFailures,
                         testing::Values(CheckpointSaver::Mode::kWait,
                                         CheckpointSaver::Mode::kBackground),
                         [](const auto& p) {
                           return p.param == CheckpointSaver::Mode::kWait
                                      ? std::string("waiting")
                                      : std::string("background");
                         });

}  // namespace

TH_MPI_TEST_MAIN
