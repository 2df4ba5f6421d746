#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "data/index/index_layout.hpp"
#include "data/index/index_writer.hpp"
#include "data/index/temporary_folder.hpp"
#include "small_corpus.hpp"
#include "th/base/hash.hpp"
#include "th/data/corpus.hpp"

namespace th::data {
namespace {

namespace fs = std::filesystem;

class Index : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  /// 200 pairs of 300 lines; `long_pair`: the length of pair 7.
  std::string write(std::size_t long_pair = 3) const {
    const std::string path = (folder_ / "i").string();
    IndexWriter writer(path);
    writer.begin_part("train", {.of_pairs = true, .of_files = true});
    PartInfo info;
    for (int i = 0; i < 300; ++i) {
      writer.add_line("s" + std::to_string(i), "target " + std::to_string(i));
      ++info.counts.lines;
      if (i % 3 == 2) continue;
      std::vector<std::int32_t> source(info.counts.pairs == 7 ? long_pair : 1 + i % 5, i);
      const std::vector<std::int32_t> target = {2, i, i + 1, 3};
      writer.add(source, target);
      ++info.counts.pairs;
    }
    info.hash = 0xFEDCBA9876543210U;
    info.file_pairs = {150, 50};
    info.files = {{0xFFFFFFFFFFFFFFFFU, 5, -6}, {1, -1, 0}};
    info.source_vocabulary = info.target_vocabulary = 301;
    writer.end_part(info);
    writer.begin_part("test", {.of_files = true});
    writer.end_part({});
    writer.set_tokenizers("source", "target");
    writer.finish("the keys", "of tokenizers");
    return path;
  }
  static std::string bytes_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void put(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  fs::path folder_ = fs::path(::testing::TempDir()) / ("th_index_" + std::to_string(::getpid()));
};

TEST_F(Index, ReadsBackWhatWasWritten) {
  for (const std::size_t longest : {std::size_t{3}, std::size_t{70000}}) {
    const auto index = std::make_shared<const IndexFile>(write(longest));
    EXPECT_EQ(index->keys(), "the keys");
    EXPECT_EQ(index->tokenizer_keys(), "of tokenizers");
    EXPECT_EQ(index->source_tokenizer(), "source");
    EXPECT_EQ(index->target_tokenizer(), "target");
    EXPECT_TRUE(index->damaged_section().empty());
    EXPECT_FALSE(index->has("valid"));
    const ParallelCorpus corpus(index, "train");
    ASSERT_EQ(corpus.size(), 200);
    EXPECT_EQ(corpus.content_hash(), 0xFEDCBA9876543210U);
    EXPECT_EQ(corpus.info().file_pairs, (std::vector<std::int64_t>{150, 50}));
    EXPECT_EQ(corpus.info().files[0], (FileMark{0xFFFFFFFFFFFFFFFFU, 5, -6}));
    EXPECT_EQ(corpus.info().longest_source,
              static_cast<std::int64_t>(std::max<std::size_t>(longest, 5)));
    EXPECT_EQ(corpus.info().longest_target, 3);
    for (std::int64_t p = 0; p < 200; ++p) {
      const auto i = static_cast<std::int32_t>(p / 2 * 3 + p % 2);
      const std::size_t length = p == 7 ? longest : static_cast<std::size_t>(1 + i % 5);
      const auto source = corpus.source(p), target = corpus.target(p);
      EXPECT_EQ(std::vector<std::int32_t>(source.begin(), source.end()),
                std::vector<std::int32_t>(length, i));
      EXPECT_EQ(std::vector<std::int32_t>(target.begin(), target.end()),
                (std::vector<std::int32_t>{2, i, i + 1, 3}));
      EXPECT_EQ(corpus.length_view()[p].source, static_cast<std::int32_t>(length));
      EXPECT_EQ(corpus.source_text(p), "s" + std::to_string(i));
      EXPECT_EQ(corpus.target_text(p), "target " + std::to_string(i));
      EXPECT_EQ(corpus.line_of(p), i);
    }
    EXPECT_EQ(corpus.target_lines().size(), 300U);
    EXPECT_EQ(corpus.source_lines()[299], "s299");
    std::vector<std::string> texts(200);
    texts[2] = "of line 3";
    const std::vector<std::string> lines = by_line(corpus, texts);
    EXPECT_EQ(lines.size(), 300U);
    EXPECT_EQ(lines[3], "of line 3");
    const ParallelCorpus empty(index, "test");
    EXPECT_EQ(empty.size(), 0);
    EXPECT_TRUE(empty.target_lines().empty());
    EXPECT_FALSE(empty.has_text());
    EXPECT_THROW(ParallelCorpus(index, "valid"), DataError);
  }
}

/// Reads all that an index has; DataError is one right answer.
bool survives(const std::string& path) {
  try {
    const auto index = std::make_shared<const IndexFile>(path);
    static_cast<void>(index->damaged_section());
    const ParallelCorpus corpus(index, "train");
    for (std::int64_t p = 0; p < corpus.size(); ++p) {
      corpus.require_ids(corpus.source(p), corpus.target(p));
      static_cast<void>(corpus.source_text(p).size() + corpus.target_text(p).size());
      static_cast<void>(corpus.line_of(p));
    }
    static_cast<void>(corpus.target_lines());
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return false;
  }
  return true;
}

TEST_F(Index, AnyDamageIsOneLineOrHarmless) {
  const std::string path = write(), whole = bytes_of(path);
  ASSERT_TRUE(survives(path));
  const std::string other = (folder_ / "other").string();
  for (std::size_t size = 0; size < whole.size(); size += 1 + size / 40) {
    put(other, whole.substr(0, size));
    EXPECT_FALSE(survives(other)) << "cut to " << size;
  }
  for (std::uint64_t k = 0; k < 3000; ++k) {
    std::string bytes = whole;
    const std::size_t at = hash_pair(k, 0) % bytes.size();
    for (std::size_t i = at; i < std::min(bytes.size(), at + 1 + k % 9); ++i)
      bytes[i] = static_cast<char>(hash_pair(k, i));
    put(other, bytes);
    static_cast<void>(survives(other));
  }
}

TEST_F(Index, DamagedIdsAndLengthsAreFoundWhereTheTablesAreWhole) {
  const std::string path = write(), whole = bytes_of(path);
  std::string bytes = whole;
  std::memset(bytes.data() + sizeof(IndexHeader) + 64, 0xFF, 64);  // ids
  put(path, bytes);
  EXPECT_FALSE(survives(path));
  EXPECT_EQ(IndexFile(path).damaged_section(), "ids of train");
}

TEST_F(Index, TablesThatAreNotTrueAreRefused) {
  // The checksum is right, so that the reader's own checks are what refuses.
  const std::string path = write(), whole = bytes_of(path);
  IndexHeader header;
  std::memcpy(&header, whole.data(), sizeof(header));
  const std::string tables = whole.substr(header.tables_offset);
  for (const auto& [from, to] :
       {std::pair("\"pairs\":200", "\"pairs\":201"), std::pair("\"pairs\":200", "\"pairs\":-1"),
        std::pair("\"pairs\":200", "\"pairs\":1e99"), std::pair("\"lines\":300", "\"lines\":10"),
        std::pair("\"ids\":[64,", "\"ids\":[9999999,"), std::pair("\"ids\":[64,", "\"ids\":[65,"),
        std::pair("\"lines\":300", "\"lines\":1152921504606846976"),
        std::pair("\"file_pairs\":[150,50]", "\"file_pairs\":[150,51]"),
        std::pair("\"file_pairs\":[150,50]", "\"file_pairs\":[-1,201]"),
        std::pair("\"file_pairs\":[150,50]", "\"file_pairs\":[9223372036854775807,50]"),
        std::pair("\"file_pairs\":[150,50]", "\"file_pairs\":[]"),
        std::pair("\"longest\":[", "\"longest\":[1.5,"), std::pair("\"train\":", "\"trains\":"),
        std::pair("\"keys\":", "\"key\":"), std::pair("\"hash\":", "\"hash\":[],\"h\":"),
        std::pair("{", "[")}) {
    std::string changed = tables;
    const std::size_t at = changed.rfind(from);
    ASSERT_NE(at, std::string::npos) << from;
    changed.replace(at, std::strlen(from), to);
    IndexHeader own = header;
    own.tables_bytes = changed.size();
    own.tables_crc = crc32c(std::as_bytes(std::span(changed)));
    std::string bytes = whole.substr(0, header.tables_offset) + changed;
    std::memcpy(bytes.data(), &own, sizeof(own));
    put(path, bytes);
    EXPECT_FALSE(survives(path)) << to;
  }
}

TEST_F(Index, MissingAndOtherFiles) {
  EXPECT_THROW(IndexFile((folder_ / "none").string()), DataError);
  for (const std::string& bytes : {std::string("TH"), std::string(100, '\0')}) {
    put((folder_ / "x").string(), bytes);
    EXPECT_THROW(IndexFile((folder_ / "x").string()), DataError);
  }
  EXPECT_THROW(IndexWriter((folder_ / "none" / "x").string()), DataError);
}

TEST_F(Index, TemporaryFoldersOfDeadProcessesGo) {
  const std::string parent = folder_.string();
  std::string path;
  {
    const TemporaryFolder mine(parent);
    path = mine.path();
    EXPECT_TRUE(fs::exists(path));
    const TemporaryFolder second(parent);
    EXPECT_TRUE(fs::exists(path)) << "its owner lives";
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1));
    const TemporaryFolder third(parent);
    EXPECT_TRUE(fs::exists(path)) << "its owner lives, however old it is";
  }
  EXPECT_FALSE(fs::exists(path));
  const fs::path dead = folder_ / "th_app.index.abcdef", unlocked = folder_ / "th_app.index.x";
  for (const fs::path& left : {dead, unlocked}) fs::create_directories(left);
  put((dead / "owner").string(), "");
  for (const fs::path& left : {dead, unlocked})
    fs::last_write_time(left, fs::file_time_type::clock::now() - std::chrono::hours(1));
  fs::create_directories(folder_ / "th_app.index.new");
  fs::create_directories(folder_ / "other");
  const TemporaryFolder mine(parent);
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_FALSE(fs::exists(unlocked));
  EXPECT_TRUE(fs::exists(folder_ / "th_app.index.new")) << "it may be locked in a moment";
  EXPECT_TRUE(fs::exists(folder_ / "other"));
}

}  // namespace
}  // namespace th::data
