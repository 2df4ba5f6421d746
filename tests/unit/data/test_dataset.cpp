#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/dataset.hpp"

namespace th::data {
namespace {

namespace fs = std::filesystem;

class Datasets : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "tmp");
    ::setenv("TMPDIR", (folder_ / "tmp").c_str(), 1);
    share_.output_dir = (folder_ / "out").string();
    data_.train_source = write("s", "a b\nb c\n");
    data_.train_target = write("t", "X Y\nY\n");
    data_.min_freq = 1;
  }
  void TearDown() override {
    ::unsetenv("TMPDIR");
    fs::remove_all(folder_);
  }
  std::string write(const char* name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return (folder_ / name).string();
  }
  [[nodiscard]] Dataset open() const { return open_dataset(data_, false, share_); }
  static std::string error_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  static bool has(const std::vector<std::string>& lines, const std::string& text) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(text) != std::string::npos;
    });
  }
  static std::vector<std::int32_t> ids(std::span<const std::int32_t> span) {
    return {span.begin(), span.end()};
  }
  fs::path folder_ = fs::path(::testing::TempDir()) / ("th_data_" + std::to_string(::getpid()));
  config::DataSection data_;
  NodeShare share_;
};

TEST_F(Datasets, OfADeckAndNothingIsLeft) {
  data_.valid_source = write("vs", "a q\n");
  data_.valid_target = write("vt", "Y\n");
  const Dataset split = open();
  EXPECT_EQ(split.train->size(), 2);
  EXPECT_EQ(split.valid->size(), 1);
  EXPECT_EQ(split.test, nullptr);
  EXPECT_EQ(split.source_tokenizer->size(), 7);
  EXPECT_EQ(split.target_tokenizer->size(), 6);
  EXPECT_EQ(split.train->target(1).size(), 3U);
  EXPECT_EQ(split.valid->source(0)[1], kUnknown);
  EXPECT_TRUE(fs::is_empty(folder_ / "tmp"));
  EXPECT_TRUE(has(split.notes,
                  "Validation text: 1 pairs; unknown words: 50.00 % of the source, "
                  "none of the target"));
  EXPECT_TRUE(split.warnings.empty());
  const Dataset joint = open_dataset(data_, true, share_);
  EXPECT_EQ(joint.source_tokenizer, joint.target_tokenizer);
  EXPECT_EQ(joint.source_tokenizer->size(), 9);
  EXPECT_EQ(joint.train->content_hash(), split.train->content_hash());
  data_.valid_target = (folder_ / "none").string();
  EXPECT_THROW(static_cast<void>(open()), DataError);
  EXPECT_TRUE(fs::is_empty(folder_ / "tmp"));
}

TEST_F(Datasets, AFolderThatTakesNoFileIsPassedOver) {
  ::setenv("TMPDIR", "/proc", 1);
  EXPECT_EQ(open().train->size(), 2);
  ::setenv("TMPDIR", (folder_ / "none").c_str(), 1);
  EXPECT_EQ(open().train->size(), 2);
}

TEST_F(Datasets, RanksOfANodeShareTheIndexAndItsErrors) {
  for (const bool damaged : {false, true}) {
    if (damaged) write("t", "X Y\n\n");
    std::barrier meeting(3);
    std::string shared;
    std::array<std::string, 3> outcomes;
    std::vector<std::thread> ranks;
    for (std::size_t rank = 0; rank < outcomes.size(); ++rank)
      ranks.emplace_back([&, rank] {
        outcomes[rank] = error_of([&] {
          NodeShare share = share_;
          share.writer = rank == 0;
          share.broadcast = [&](std::string& text) {
            if (rank == 0) shared = text;
            meeting.arrive_and_wait();
            text = shared;
            meeting.arrive_and_wait();
          };
          const Dataset dataset = open_dataset(data_, false, share);
          EXPECT_EQ(dataset.train->size(), 2);
          EXPECT_EQ(dataset.notes.size(), 1U);
        });
      });
    for (std::thread& rank : ranks) rank.join();
    for (const std::string& outcome : outcomes) {
      EXPECT_EQ(outcome, outcomes[0]);
      EXPECT_EQ(outcome.find(damaged ? data_.train_target + ":2: empty line" : "no error"), 0U)
          << outcome;
    }
    EXPECT_TRUE(fs::is_empty(folder_ / "tmp"));
  }
}

TEST_F(Datasets, EmptyLines) {
  data_.train_source = write("s", "a\n \t\nc\nd\n");
  data_.train_target = write("t", "A\nB\n\nD\n");
  EXPECT_EQ(error_of([&] { static_cast<void>(open()); }).find(data_.train_source + ":2: empty"),
            0U);
  data_.empty_lines = config::EmptyLines::kSkip;
  const Dataset dataset = open();
  EXPECT_EQ(dataset.train->size(), 2);
  EXPECT_EQ(dataset.source_tokenizer->tokens(),
            (std::vector<std::string>{"<pad>", "<unk>", "<s>", "</s>", "a", "d"}));
  EXPECT_TRUE(has(dataset.warnings, "2 of 4 pairs skipped because a line is empty"));
  EXPECT_TRUE(has(dataset.notes, "2 pairs of 4 lines, 2 dropped as blank"));
}

TEST_F(Datasets, HeldOutPartsKeepTheLinesOfTheirFiles) {
  data_.empty_lines = config::EmptyLines::kSkip;
  data_.test_source = write("es", "a\n\nb\nc\n");
  data_.test_target = write("et", "X\nY Z\n\nX\n");
  const Dataset dataset = open();
  ASSERT_EQ(dataset.test->size(), 2);
  EXPECT_EQ(dataset.test->lines(), 4);
  EXPECT_EQ(dataset.test->target_lines(), (std::vector<std::string>{"X", "Y Z", "", "X"}));
  EXPECT_EQ(by_line(*dataset.test, {"one", "two"}),
            (std::vector<std::string>{"one", "", "", "two"}));
  EXPECT_EQ(changed_files(dataset.test_files), "");
  write("et", "X\nY Z\n\nX X\n");
  EXPECT_EQ(changed_files(dataset.test_files), data_.test_target);
}

TEST_F(Datasets, LengthsOfASideCutOrDrop) {
  data_.train_source = write("s", "a b c d\na\na b\n");
  data_.train_target = write("t", "A\nA B C D\nA B\n");
  data_.max_source_length = 3;
  data_.max_target_length = 4;
  Dataset dataset = open();
  EXPECT_EQ(dataset.train->size(), 3);
  EXPECT_EQ(dataset.train->source(0).size(), 3U);
  EXPECT_EQ(dataset.train->target(1).size(), 4U);
  EXPECT_EQ(dataset.train->target(1)[3], kEnd);
  EXPECT_TRUE(has(dataset.warnings,
                  "2 of 3 pairs have a sentence of more than data.max_source_length = 3 or "
                  "data.max_target_length = 4 ids; it was cut"));
  data_.long_lines = config::LongLines::kDrop;
  data_.test_source = data_.train_source;
  data_.test_target = data_.train_target;
  dataset = open();
  EXPECT_EQ(dataset.train->size(), 1);
  EXPECT_EQ(dataset.train->info().counts.too_long, 2);
  EXPECT_EQ(dataset.test->size(), 3) << "each line of a test set has a translation";
  EXPECT_EQ(dataset.test->info().counts.cut, 2);
}

TEST_F(Datasets, RatioOfTheSidesDrops) {
  data_.train_source = write("s", "a b c d\na\na b\n");
  data_.train_target = write("t", "A\nA B C D\nA B C D\n");
  data_.max_ratio = 2;
  const Dataset dataset = open();
  EXPECT_EQ(dataset.train->size(), 1);
  EXPECT_TRUE(has(dataset.warnings,
                  "2 of 3 pairs dropped because one side has more than "
                  "data.max_ratio = 2 times the other's ids"));
}

TEST_F(Datasets, SeveralFilesAndATable) {
  const std::string more_source = write("s2", "c c\n"), more_target = write("t2", "Z\n");
  config::DataSection several = data_;
  several.train_source += "," + more_source;
  several.train_target += "," + more_target;
  const Dataset two = open_dataset(several, false, share_);
  ASSERT_EQ(two.train->size(), 3);
  EXPECT_EQ(two.train->info().file_pairs, (std::vector<std::int64_t>{2, 1}));
  data_.train_source = write("all.tsv", "a b\tX Y\nb c\tY\nc c\tZ\n");
  data_.train_target = "";
  data_.format = config::TextFormat::kTsv;
  const Dataset table = open();
  EXPECT_EQ(table.train->content_hash(), two.train->content_hash());
  EXPECT_EQ(table.source_tokenizer->tokens(), two.source_tokenizer->tokens());
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(ids(table.train->source(i)), ids(two.train->source(i)));
    EXPECT_EQ(ids(table.train->target(i)), ids(two.train->target(i)));
  }
}

TEST_F(Datasets, PipesAreReadOnce) {
  const std::string pipe = (folder_ / "pipe").string(), second = (folder_ / "second").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(second.c_str(), 0600), 0);
  const Dataset files = open();
  data_.train_source = pipe;
  data_.test_source = second;
  data_.test_target = write("et", "X\n");
  std::thread writer([&] {
    std::ofstream(pipe) << "a b\nb c\n";
    std::ofstream(second) << "a b\n";
  });
  const Dataset dataset = open();
  writer.join();
  EXPECT_EQ(dataset.train->content_hash(), files.train->content_hash());
  EXPECT_EQ(dataset.test->size(), 1);
  EXPECT_EQ(changed_files(dataset.test_files), "");
  share_.pipe_patience = std::chrono::milliseconds(100);
  EXPECT_EQ(error_of([&] { static_cast<void>(open()); }).find(pipe + ": is a pipe from which"), 0U);
  EXPECT_TRUE(fs::is_empty(folder_ / "tmp"));
  EXPECT_EQ(error_of([&] {
              static_cast<void>(write_index(data_, false, share_.output_dir));
            }).find(pipe + ": is a pipe, and an index is of files"),
            0U);
}

TEST_F(Datasets, AnIndexIsUsedWhileItsFilesAndKeysAreTheSame) {
  data_.valid_source = write("vs", "a q\n");
  data_.valid_target = write("vt", "Y\n");
  const Dataset fresh = open();
  const std::string path = index_path(data_, share_.output_dir);
  EXPECT_EQ(path, share_.output_dir + ".index/corpus.index");
  EXPECT_TRUE(has(write_index(data_, false, share_.output_dir), "train: 2 pairs"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "out.index"), {}), 1);
  EXPECT_TRUE(verify_index(data_, false, share_.output_dir).empty());
  const auto uses = [&](const Dataset& dataset, const char* title) {
    for (const std::string& note : dataset.notes)
      if (note.starts_with(title)) return note.find("(from " + path + ")") != std::string::npos;
    return false;
  };
  const Dataset used = open();
  EXPECT_TRUE(uses(used, "Training") && uses(used, "Validation"));
  EXPECT_EQ(used.temporary, nullptr);
  EXPECT_EQ(ids(used.train->source(1)), ids(fresh.train->source(1)));
  EXPECT_EQ(used.source_tokenizer->tokens(), fresh.source_tokenizer->tokens());
  data_.test_source = write("es", "c\n");
  data_.test_target = write("et", "X\n");
  const Dataset more = open();
  EXPECT_TRUE(uses(more, "Training") && uses(more, "Validation") && !uses(more, "Test"));
  EXPECT_EQ(more.test->source(0)[0], fresh.source_tokenizer->encode("c")[0]);
  EXPECT_TRUE(has(more.warnings, "is not used for data.test_source: it has no part test"));
  data_.max_length = 50;
  const Dataset other_keys = open();
  EXPECT_FALSE(uses(other_keys, "Training"));
  EXPECT_TRUE(has(other_keys.warnings, "it was written with other keys"));
  data_.max_length = 100;
  write("vs", "a b\n");
  const Dataset stale = open();
  EXPECT_TRUE(uses(stale, "Training") && !uses(stale, "Validation"));
  EXPECT_TRUE(has(stale.warnings, data_.valid_source + " was changed since it was written"));
  const auto differences = verify_index(data_, false, share_.output_dir);
  EXPECT_TRUE(has(differences, data_.valid_source + ", " + data_.valid_target + ": stale"));
  EXPECT_FALSE(has(differences, data_.train_source));
}

TEST_F(Datasets, ADamagedIndexIsToldAndNotUsed) {
  static_cast<void>(write_index(data_, false, share_.output_dir));
  const std::string path = index_path(data_, share_.output_dir);
  fs::resize_file(path, fs::file_size(path) / 2);
  const Dataset dataset = open();
  EXPECT_EQ(dataset.train->size(), 2);
  EXPECT_TRUE(has(dataset.warnings, path + ": the corpus index is damaged: it is cut off"));
  EXPECT_THROW(static_cast<void>(verify_index(data_, false, share_.output_dir)), DataError);
}

TEST_F(Datasets, ExchangedSidesAreToldByTheirUnknownWords) {
  data_.valid_source = data_.train_target;
  data_.valid_target = data_.train_source;
  const Dataset dataset = open();
  EXPECT_TRUE(has(dataset.warnings, "100.00 % of the words of the source are unknown"));
  EXPECT_TRUE(has(dataset.warnings, "100.00 % of the words of the target are unknown"));
}

}  // namespace
}  // namespace th::data
