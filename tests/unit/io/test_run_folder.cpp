#include "th/io/run_folder.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "temporary_folder.hpp"
#include "th/base/error.hpp"

namespace th::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecord = "{\"kind\":\"step\",\"step\":1}\n";

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string content_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Every file and link below a folder.
std::set<std::string> tree(const fs::path& folder) {
  std::set<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory() || entry.is_symlink())
      found.insert(entry.path().lexically_relative(folder).string());
  return found;
}

void write_run(const fs::path& folder) {
  write(folder / "metrics.jsonl", kRecord);
  write(folder / "run.log", "log");
  write(folder / "tensorboard" / "events.out.tfevents.1.host", "events");
  write(folder / "checkpoints" / "latest", "step_00000050\n");
  write(folder / "checkpoints" / "step_00000050" / "model.h5", "model");
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const DeckError& error) {
    return error.what();
  }
  return "";
}

class RunFolderTest : public TemporaryFolder {
 protected:
  void SetUp() override {
    TemporaryFolder::SetUp();
    out_ = fs::path(dir_) / "out";
  }
  fs::path out_;
};

TEST_F(RunFolderTest, AFolderOfOthersHoldsNoRun) {
  write(out_ / "checkpoints" / "bert.ckpt", "mine");
  write(out_ / "thesis.tex", "mine");
  write(out_ / "metrics.jsonl", "epoch,loss\n");
  const RunFolder folder(out_);
  EXPECT_FALSE(folder.holds_run());
  EXPECT_TRUE(folder.own().empty());
  EXPECT_FALSE(RunFolder(out_ / "missing").holds_run());
}

TEST_F(RunFolderTest, WhatOthersPutThereStaysWhenARunIsSetAside) {
  fs::create_directories(out_);
  RunFolder(out_).claim("first");
  write_run(out_);
  write(out_ / "checkpoints" / "bert.ckpt", "mine");
  write(out_ / "thesis.tex", "mine");
  write(out_ / "other" / "metrics.jsonl", kRecord);  // a run inside, perhaps going on
  RunFolder folder(out_);
  ASSERT_TRUE(folder.holds_run());
  EXPECT_EQ(folder.run_id(), "first");
  EXPECT_EQ(folder.set_aside(), out_.string() + ".1");
  EXPECT_EQ(tree(out_),
            (std::set<std::string>{"checkpoints/bert.ckpt", "thesis.tex", "other/metrics.jsonl"}));
  EXPECT_EQ(tree(out_.string() + ".1"),
            (std::set<std::string>{"manifest", "run", "metrics.jsonl", "run.log",
                                   "tensorboard/events.out.tfevents.1.host", "checkpoints/latest",
                                   "checkpoints/step_00000050/model.h5"}));
  EXPECT_FALSE(RunFolder(out_).holds_run());
  EXPECT_TRUE(RunFolder(out_.string() + ".1").holds_run());
}

TEST_F(RunFolderTest, ARunOfBeforeTheManifestIsKnownByItsNames) {
  write_run(out_);
  write(out_ / "notes.txt", "mine");
  RunFolder folder(out_);
  EXPECT_TRUE(folder.holds_run());
  EXPECT_EQ(folder.run_id(), "");
  static_cast<void>(folder.set_aside());
  EXPECT_EQ(tree(out_), std::set<std::string>{"notes.txt"});
}

TEST_F(RunFolderTest, TheNextFreeNumberIsTaken) {
  write_run(out_);
  write(out_.string() + ".1", "a file");
  fs::create_directory(out_.string() + ".2");
  EXPECT_EQ(RunFolder(out_).set_aside(), out_.string() + ".3");
}

TEST_F(RunFolderTest, ALinkIsFollowed) {
  const fs::path scratch = fs::path(dir_) / "scratch" / "exp";
  fs::create_directories(scratch);
  fs::create_directory_symlink(scratch, out_);
  write_run(scratch);
  EXPECT_EQ(RunFolder(out_).set_aside(), fs::canonical(scratch).string() + ".1");
  EXPECT_TRUE(fs::is_symlink(out_));
  EXPECT_TRUE(tree(scratch).empty());
}

TEST_F(RunFolderTest, ALinkThatLeadsNowhereAndAFileAreTold) {
  fs::create_symlink("gone", out_);
  EXPECT_NE(message_of([&] { RunFolder folder(out_); }).find("is a link to gone"),
            std::string::npos);
  write(fs::path(dir_) / "file", "text");
  EXPECT_NE(message_of([&] {
              RunFolder folder(fs::path(dir_) / "file");
            }).find("is a file; give a folder"),
            std::string::npos);
}

TEST_F(RunFolderTest, ANameThatGetsTooLongGoesInside) {
  const fs::path folder = fs::path(dir_) / std::string(254, 'n');
  write_run(folder);
  EXPECT_EQ(RunFolder(folder).set_aside(), (folder / "earlier.1").string());
  EXPECT_TRUE(fs::exists(folder / "earlier.1" / "metrics.jsonl"));
  EXPECT_FALSE(fs::exists(folder / "metrics.jsonl"));
  write_run(folder);
  EXPECT_EQ(RunFolder(folder).set_aside(), (folder / "earlier.2").string());
}

TEST_F(RunFolderTest, AFileOfOthersInTheWayIsNamedAndStays) {
  write(out_ / "run.log", "mine");
  EXPECT_NE(message_of([&] { RunFolder(out_).claim("id"); }).find("holds run.log, which th_app"),
            std::string::npos);
  EXPECT_EQ(content_of(out_ / "run.log"), "mine");
  EXPECT_FALSE(fs::exists(out_ / "manifest"));
}

TEST_F(RunFolderTest, AClaimIsSeenByTheNextProgramAndIdsDiffer) {
  fs::create_directories(out_);
  const std::string id = make_run_id();
  EXPECT_EQ(id.size(), 32U);
  EXPECT_NE(id, make_run_id());
  RunFolder(out_).claim(id);
  EXPECT_EQ(RunFolder(out_).run_id(), id);
  EXPECT_FALSE(RunFolder(out_).holds_run());
  write(out_ / "run.log", "the run's own");
  EXPECT_NO_THROW(RunFolder(out_).claim(id));
}

}  // namespace
}  // namespace th::io
