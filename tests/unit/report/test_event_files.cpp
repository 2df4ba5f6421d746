#include "app/report/files/event_files.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "th/monitor/tensorboard.hpp"
#include "unit/io/temporary_folder.hpp"

// What is read is what th_app's own writer wrote.
namespace {

using th::app::EventFiles;
using th::app::read_event_files;
using th::monitor::TensorboardWriter;

class EventFilesTest : public TemporaryFolder {
 protected:
  /// Writes a file that begins at `first`; its name says that it is the `time`-th.
  std::string write(int time, std::int64_t first, std::int64_t last, double seconds) {
    std::string path;
    {
      TensorboardWriter writer(folder(), first);
      for (std::int64_t step = first; step <= last; ++step) {
        writer.scalar("time/compute", seconds, step);
        writer.scalar("train/loss", 1, step);
        writer.text("deck", "```\nx\n```", step);
        writer.scalar("memory/gib", 0.5 * static_cast<double>(step), step);
      }
      writer.flush();
      path = writer.path();
    }
    const std::string name =
        folder() + "/events.out.tfevents." + std::to_string(1000 + time) + ".host.1";
    std::filesystem::rename(path, name);
    return name;
  }
  std::string folder() { return dir_ + "/tensorboard"; }
};

TEST_F(EventFilesTest, SumsPhasesAndKeepsTheCurveOfMemory) {
  write(0, 1, 10, 0.25);
  const EventFiles seen = read_event_files(folder());
  EXPECT_EQ(seen.files, 1);
  ASSERT_EQ(seen.seconds.size(), 1U);
  EXPECT_DOUBLE_EQ(seen.seconds.at("compute"), 2.5);
  EXPECT_EQ(seen.memory.count(), 10);
  EXPECT_EQ(seen.memory.last().y, 5);
}

TEST_F(EventFilesTest, PointsThatAResumeMadeVoidAreLeftOut) {
  write(0, 1, 10, 1);
  write(1, 6, 8, 2);  // from the checkpoint of step 5
  write(2, 8, 9, 4);
  const EventFiles seen = read_event_files(folder());
  EXPECT_EQ(seen.files, 3);
  EXPECT_DOUBLE_EQ(seen.seconds.at("compute"), 5 * 1 + 2 * 2 + 2 * 4);
  EXPECT_EQ(seen.memory.count(), 9);
}

TEST_F(EventFilesTest, ATornFileGivesWhatStandsBeforeTheTear) {
  const std::string path = write(0, 1, 10, 1);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  const EventFiles seen = read_event_files(folder());
  EXPECT_DOUBLE_EQ(seen.seconds.at("compute"), 10);
  EXPECT_EQ(seen.memory.count(), 9);
}

TEST_F(EventFilesTest, DamageAndNoFilesAreNoErrors) {
  EXPECT_EQ(read_event_files(folder()).files, 0);
  const std::string path = write(0, 1, 3, 1);
  put(path, std::string(1000, '\xff'));
  EXPECT_TRUE(read_event_files(folder()).seconds.empty());
}

}  // namespace
