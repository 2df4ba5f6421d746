#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"

namespace th::io {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

/// A run's folder whose checkpoints are empty files.
class CheckpointNames : public testing::Test {
 protected:
  CheckpointNames() {
    fs::remove_all(run_);
    for (std::int64_t step = 1; step <= 5; ++step) {
      fs::create_directories(dir_ + "/" + step_name(step));
      std::ofstream(dir_ + "/" + step_name(step) + "/model.h5") << "";
    }
    write_name(dir_, kLatest, step_name(5));
  }
  ~CheckpointNames() override { fs::remove_all(run_); }

  [[nodiscard]] Names steps() const {
    Names found;
    for (const auto& entry : fs::directory_iterator(dir_))
      if (entry.is_directory()) found.push_back(entry.path().filename().string().substr(12));
    std::sort(found.begin(), found.end());
    return found;
  }

  std::string run_ =
      (fs::temp_directory_path() / ("th_names_" + std::to_string(getpid()))).string();
  std::string dir_ = run_ + "/checkpoints";
};

TEST_F(CheckpointNames, TheBestStayAndThoseThatAreNoLongerGo) {
  remove_old_checkpoints(
      dir_, {.kept = {"step_00000001"}, .dropped = {"step_00000001", "step_00000003"}});
  EXPECT_EQ(steps(), (Names{"1", "2", "4", "5"}));
  remove_old_checkpoints(dir_, {.keep_last = 1, .kept = {"step_00000002"}});
  EXPECT_EQ(steps(), (Names{"2", "5"}));
  remove_old_checkpoints(dir_, {.dropped = {"step_00000002"}, .newest = 2});
  EXPECT_EQ(steps(), (Names{"2", "5"})) << "it is among the newest two";
  remove_old_checkpoints(dir_, {.dropped = {"step_00000005", "step_00000002"}});
  EXPECT_EQ(steps(), Names{"5"}) << "the newest never goes";
}

TEST_F(CheckpointNames, AFileStandsForTheCheckpointThatItNames) {
  EXPECT_EQ(named_checkpoint(run_), run_) << "there is no final: the newest is looked for";
  write_name(dir_, kBest, "step_00000002");
  write_name(dir_, kFinal, "step_00000001");
  const std::vector<std::pair<std::string, std::string>> cases = {{dir_ + "/best", "2"},
                                                                  {run_ + "/best", "2"},
                                                                  {dir_ + "/latest", "5"},
                                                                  {run_ + "/latest", "5"},
                                                                  {dir_ + "/final", "1"},
                                                                  {run_, "1"},
                                                                  {dir_, "1"},
                                                                  {run_ + "/", "1"}};
  for (const auto& [path, step] : cases)
    EXPECT_EQ(fs::path(named_checkpoint(path)).filename(), "step_0000000" + step) << path;
  EXPECT_EQ(checkpoint_of_name_file(run_), run_);
  for (const std::string& path : {dir_ + "/step_00000003", run_ + "/other", std::string("best")})
    EXPECT_EQ(named_checkpoint(path), path) << "no name of a run's";
}

TEST_F(CheckpointNames, AFileThatNamesNothingIsAnError) {
  EXPECT_EQ(read_name(dir_, kBest), "");
  write_name(dir_, kBest, "step_00000009");
  EXPECT_EQ(read_name(dir_, kBest), "step_00000009");
  for (const std::string& path : {run_ + "/best", dir_ + "/best"})
    EXPECT_THROW((void)named_checkpoint(path), th::CheckpointError);
  remove_name(dir_, kBest);
  remove_name(dir_, kBest);  // nothing is there any more
  EXPECT_FALSE(fs::exists(dir_ + "/best"));
}

TEST_F(CheckpointNames, AFolderIsPublishedUnderAnyName) {
  for (int time = 0; time < 2; ++time) {  // the second replaces the first
    const std::string folder = begin_folder(dir_, mean_name(5), 0);
    std::ofstream(folder + "/model.h5") << time;
    publish_folder(dir_, mean_name(5));
    std::ifstream in(dir_ + "/mean_00000005/model.h5");
    int seen = -1;
    in >> seen;
    EXPECT_EQ(seen, time);
  }
  EXPECT_EQ(read_name(dir_, kLatest), "step_00000005");
  (void)begin_folder(dir_, mean_name(6), 0);
  discard_folder(dir_, mean_name(6));
  EXPECT_FALSE(fs::exists(dir_ + "/.tmp_mean_00000006"));
}

}  // namespace
}  // namespace th::io
