#include "temporary_folder.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/output.hpp"

namespace {
namespace fs = std::filesystem;
using namespace th::io;

class Output : public TemporaryFolder {};

void write_text(OutputFile& file, const std::string& text) {
  file.write(std::as_bytes(std::span(text)));
}

TEST_F(Output, FileHasItsNameOnlyAfterCommit) {
  const std::string path = dir_ + "/a";
  {
    OutputFile file(path, Existing::kRefuse);
    write_text(file, "half");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_EQ(entries_in_folder(), 0) << "an uncommitted file leaves something";
  OutputFile file(path, Existing::kRefuse);
  write_text(file, "who");
  write_text(file, "le");
  EXPECT_EQ(file.size(), 5);
  file.commit();
  EXPECT_EQ(content(path), "whole");
  EXPECT_EQ(entries_in_folder(), 1);
}

TEST_F(Output, FileThatIsThereStaysUnlessReplaced) {
  const std::string path = dir_ + "/a";
  put(path, "old");
  EXPECT_THROW(OutputFile(path, Existing::kRefuse), th::DeckError);
  {
    OutputFile file(path, Existing::kReplace);
    write_text(file, "new");
  }
  EXPECT_EQ(content(path), "old");
  OutputFile file(path, Existing::kReplace);
  write_text(file, "new");
  file.commit();
  EXPECT_EQ(content(path), "new");
  EXPECT_THROW(OutputFile(dir_, Existing::kReplace), th::DeckError);
  EXPECT_THROW(OutputFile("/dev/null", Existing::kReplace), th::DeckError);
  EXPECT_THROW(OutputFile(dir_ + "/absent/a", Existing::kRefuse), th::CheckpointError);
}

TEST_F(Output, FolderIsReplacedOnlyWhereItHoldsACheckpointAlone) {
  const std::string path = dir_ + "/c";
  {
    OutputFolder folder(path + "/", Existing::kRefuse);
    put(folder.temporary() + "/model.h5", "1");
    folder.commit();
  }
  EXPECT_EQ(content(path + "/model.h5"), "1");
  EXPECT_THROW(OutputFolder(path, Existing::kRefuse), th::DeckError);
  { OutputFolder abandoned(path, Existing::kReplace); }
  EXPECT_EQ(content(path + "/model.h5"), "1");
  {
    OutputFolder folder(path, Existing::kReplace);
    put(folder.temporary() + "/model.h5", "2");
    folder.commit();
  }
  EXPECT_EQ(content(path + "/model.h5"), "2");
  EXPECT_EQ(entries_in_folder(), 1);
  put(path + "/notes.txt", "mine");
  EXPECT_THROW(OutputFolder(path, Existing::kReplace), th::DeckError);
  EXPECT_EQ(content(path + "/notes.txt"), "mine");
}

}  // namespace
