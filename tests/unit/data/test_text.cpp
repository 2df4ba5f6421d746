#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <barrier>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/corpus.hpp"
#include "th/data/text.hpp"

namespace th::data {
namespace {

using config::EmptyLines;

class TextFiles : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const char* name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  std::filesystem::path pack(const char* name, const std::string& bytes) const {
    gzFile file = gzopen((folder_ / name).c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
    return folder_ / name;
  }
  static std::string data_error(const std::function<void()>& call) {
    try {
      call();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no DataError";
  }
  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("th_text_" + std::to_string(::getpid()));
};

TEST_F(TextFiles, LineEndsMarkAndLastLine) {
  const TextFile text = read_text(write("a", "\xEF\xBB\xBFone two\r\n\nthree"));
  EXPECT_EQ(text.lines, (std::vector<std::string>{"one two", "", "three"}));
  EXPECT_TRUE(read_text(write("empty", "")).lines.empty());
}

TEST_F(TextFiles, GzipReadsAsPlain) {
  const std::string bytes = "le chat\nl'été\n";
  const TextFile packed = read_text(pack("a.gz", bytes));
  const TextFile plain = read_text(write("a", bytes));
  EXPECT_EQ(packed.lines, plain.lines);
  EXPECT_EQ(packed.hash, plain.hash);
  EXPECT_NE(plain.hash, read_text(write("b", "le chat\nl'hiver\n")).hash);
}

TEST_F(TextFiles, CutGzip) {
  std::string bytes;
  for (int i = 0; i < 20000; ++i) bytes += std::to_string(i * 7919) + "\n";
  const auto path = pack("cut.gz", bytes);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const std::string message = data_error([&] { static_cast<void>(read_text(path)); });
  EXPECT_NE(message.find("damaged or cut off"), std::string::npos) << message;
}

TEST_F(TextFiles, InvalidUtf8NamesFileAndLine) {
  for (const char* bad :
       {"\xFF", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80"}) {
    const auto path = write("bad", std::string("fine\nab") + bad + "\nfine\n");
    const std::string message = data_error([&] { static_cast<void>(read_text(path)); });
    EXPECT_EQ(message.find(path.string() + ":2: invalid UTF-8 at byte 3"), 0U) << message;
  }
  EXPECT_EQ(read_text(write("good", "é \xE2\x82\xAC \xF0\x9F\x98\x80\n")).lines.size(), 1U);
}

TEST_F(TextFiles, MissingFileAndFolder) {
  const std::string missing = data_error([&] { static_cast<void>(read_text(folder_ / "none")); });
  EXPECT_NE(missing.find((folder_ / "none").string()), std::string::npos);
  EXPECT_NE(missing.find("No such file"), std::string::npos) << missing;
  EXPECT_NE(data_error([&] { static_cast<void>(read_text(folder_)); }).find("is a folder"),
            std::string::npos);
}

TEST_F(TextFiles, EmptyLines) {
  const auto source = write("s", "a\n \t\nc\nd\n");
  const auto target = write("t", "A\nB\n\nD\n");
  const std::string message =
      data_error([&] { static_cast<void>(read_parallel(source, target, EmptyLines::kError)); });
  EXPECT_EQ(message.find(source.string() + ":2: empty line"), 0U) << message;
  const auto whole = write("w", "a\nb\nc\nd\n");
  EXPECT_EQ(data_error([&] {
              static_cast<void>(read_parallel(whole, target, EmptyLines::kError));
            }).find(target.string() + ":3: "),
            0U);
  const ParallelText text = read_parallel(source, target, EmptyLines::kSkip);
  EXPECT_EQ(text.skipped, 2);
  EXPECT_EQ(text.source.lines, (std::vector<std::string>{"a", "d"}));
  EXPECT_EQ(text.target.lines, (std::vector<std::string>{"A", "D"}));
  ASSERT_EQ(text.warnings.size(), 1U);
  EXPECT_NE(text.warnings[0].find("2 of 4"), std::string::npos);
}

TEST_F(TextFiles, UnequalCounts) {
  const auto source = write("s", "a\nb\n");
  const auto target = write("t", "A\nB\nC\n");
  const std::string message =
      data_error([&] { static_cast<void>(read_parallel(source, target, EmptyLines::kSkip)); });
  EXPECT_NE(message.find(source.string() + " has 2 lines"), std::string::npos) << message;
  EXPECT_NE(message.find(target.string() + " has 3"), std::string::npos) << message;
}

TEST_F(TextFiles, AZeroByteIsNoText) {
  const auto path = write("zero", std::string("good\nab\0c\n", 10));
  try {
    (void)read_text(path);
    FAIL() << "read";
  } catch (const DataError& error) {
    EXPECT_EQ(
        std::string(error.what()).find(path.string() + ":2: a zero byte at byte 3 of the line"), 0U)
        << error.what();
  }
  EXPECT_EQ(text_of("a\r\nb", "standard input").lines, (std::vector<std::string>{"a", "b"}));
}

TEST_F(TextFiles, OpenDataset) {
  config::DataSection data;
  data.train_source = write("s", "a b\nb c\n").string();
  data.train_target = write("t", "X Y\nY\n").string();
  data.valid_source = write("vs", "a q\n").string();
  data.valid_target = write("vt", "Y\n").string();
  data.min_freq = 1;
  const Dataset split = open_dataset(data, false, {folder_ / "cache", true, {}});
  EXPECT_EQ(split.train->size(), 2);
  EXPECT_EQ(split.valid->size(), 1);
  EXPECT_EQ(split.test, nullptr);
  EXPECT_EQ(split.source_tokenizer->size(), 7);
  EXPECT_EQ(split.target_tokenizer->size(), 6);
  EXPECT_EQ(split.train->target(1).size(), 3U);
  EXPECT_EQ(split.valid->source(0)[1], kUnknown);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache"));
  const Dataset joint = open_dataset(data, true, {folder_ / "cache", true, {}});
  EXPECT_EQ(joint.source_tokenizer, joint.target_tokenizer);
  EXPECT_EQ(joint.source_tokenizer->size(), 9);
  EXPECT_EQ(joint.train->content_hash(), split.train->content_hash());
  data.valid_target = (folder_ / "none").string();
  EXPECT_THROW(static_cast<void>(open_dataset(data, true, {folder_ / "cache", true, {}})),
               DataError);
}

TEST_F(TextFiles, RanksOfANodeShareTheCacheAndItsErrors) {
  config::DataSection data;
  data.train_source = write("s", "a b\nb c\n").string();
  data.train_target = write("t", "X Y\nY\n").string();
  for (const bool damaged : {false, true}) {
    if (damaged) write("t", "X Y\n\n");
    std::barrier meeting(3);
    std::array<std::string, 3> outcomes;
    std::vector<std::thread> ranks;
    for (std::size_t rank = 0; rank < outcomes.size(); ++rank)
      ranks.emplace_back([&, rank] {
        outcomes[rank] = data_error([&] {
          const Dataset dataset = open_dataset(
              data, false, {folder_ / "cache", rank == 0, [&] { meeting.arrive_and_wait(); }});
          EXPECT_EQ(dataset.train->size(), 2);
        });
      });
    for (std::thread& rank : ranks) rank.join();
    for (const std::string& outcome : outcomes) {
      EXPECT_EQ(outcome, outcomes[0]);
      EXPECT_EQ(outcome.find(damaged ? data.train_target + ":2: empty line" : "no DataError"), 0U)
          << outcome;
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache"));
  }
}

TEST_F(TextFiles, DamagedIndex) {
  EXPECT_THROW(ParallelCorpus(folder_ / "none"), DataError);
  EXPECT_THROW(ParallelCorpus(write("short", "TH")), DataError);
  EXPECT_THROW(ParallelCorpus(write("zeros", std::string(100, '\0'))), DataError);
}

}  // namespace
}  // namespace th::data
