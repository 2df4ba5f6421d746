#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/text.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {
namespace {

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
  static std::string bytes_of(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
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

TEST_F(TextFiles, BytesBehindAGzipAreToldWithTheirPlace) {
  const std::string packed = bytes_of(pack("one.gz", "one\n")),
                    more = bytes_of(pack("b.gz", "two\n"));
  EXPECT_EQ(read_text(write("two.gz", packed + more)).lines,
            (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(read_text(write("tape.gz", packed + std::string(512, '\0'))).lines.size(), 1U);
  for (const std::string& tail :
       {std::string("two\n"), std::string("\x1F"), std::string("\x1F\x8C"), std::string("\0\0x", 3),
        std::string(4, '\0') + more}) {
    const auto path = write("tail.gz", packed + tail);
    const std::string message = data_error([&] { static_cast<void>(read_text(path)); });
    if (tail == "\x1F") {
      EXPECT_NE(message.find("damaged or cut off"), std::string::npos) << message;
      continue;
    }
    const std::size_t zeros = std::min(tail.find_first_not_of('\0'), tail.size());
    EXPECT_NE(message.find("from byte " + std::to_string(packed.size() + zeros) + " of the file"),
              std::string::npos)
        << message;
  }
}

TEST_F(TextFiles, OtherKindsOfFilesAreNamed) {
  const auto message = [&](const std::string& bytes) {
    return data_error([&] { static_cast<void>(read_text(write("x", bytes))); });
  };
  EXPECT_NE(message("BZh91AY&SY....").find("packed by bzip2"), std::string::npos);
  EXPECT_NE(message(std::string("\xFD"
                                "7zXZ\0....",
                                10))
                .find("packed by xz"),
            std::string::npos);
  EXPECT_NE(message("\x28\xB5\x2F\xFD....").find("packed by zstd"), std::string::npos);
  EXPECT_NE(message("PK\x03\x04....").find("packed by zip"), std::string::npos);
  EXPECT_EQ(message("BZh is a word\n"), "no DataError");
  EXPECT_NE(message("a\rb\rc\r").find("end with CR alone, from byte 2"), std::string::npos);
  EXPECT_NE(message(std::string("\xFF\xFE"
                                "a\0b\0",
                                6))
                .find("UTF-16"),
            std::string::npos);
  EXPECT_EQ(message("a\r"), "no DataError");
  EXPECT_EQ(message("a\rb\nc\n"), "no DataError");
  EXPECT_NE(message(std::string(5000000, 'a') + "\rb\r").find("CR alone"), std::string::npos);
}

TEST_F(TextFiles, LinesLongerThanAnyBuffer) {
  const std::string line(300001, 'x');
  EXPECT_EQ(read_text(write("long", line + "\n\n" + line)).lines,
            (std::vector<std::string>{line, "", line}));
  EXPECT_TRUE(read_text(write("mark", "\xEF\xBB\xBF")).lines.empty());
  EXPECT_EQ(read_text(write("mark", "\xEF\xBB\xBF\n")).lines, (std::vector<std::string>{""}));
}

TEST_F(TextFiles, AFileWithoutLineEndsIsNotHeldWhole) {
  const std::string piece(1 << 20, 'a');
  gzFile file = gzopen((folder_ / "bomb.gz").c_str(), "wb");
  gzwrite(file, "a line\n", 7);
  for (std::int64_t bytes = 0; bytes <= 2 * kLongestTextLine; bytes += std::ssize(piece))
    gzwrite(file, piece.data(), static_cast<unsigned>(piece.size()));
  gzclose(file);
  ASSERT_LT(std::filesystem::file_size(folder_ / "bomb.gz"), 1U << 20);
  const std::string message =
      data_error([&] { static_cast<void>(read_text(folder_ / "bomb.gz")); });
  EXPECT_NE(message.find("bomb.gz:2: the line has more than 67108864 bytes"), std::string::npos)
      << message;
}

TEST_F(TextFiles, APipeIsReadOnceAndNotWaitedForWithoutEnd) {
  const std::string path = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path) << "one\ntwo\n"; });
  TextHash hash;
  const auto source = std::make_shared<ByteSource>("the pipe", path);
  LineReader reader(
      "the pipe", [&](std::span<char> block) { return source->read(block); }, hash);
  std::string_view line;
  EXPECT_TRUE(reader.next(line));
  EXPECT_EQ(line, "one");
  EXPECT_TRUE(reader.next(line));
  EXPECT_FALSE(reader.next(line));
  writer.join();
  EXPECT_EQ(hash.value(), hash_text("one\ntwo\n"));
  EXPECT_NE(data_error([&] {
              static_cast<void>(ByteSource("the pipe", path, std::chrono::milliseconds(200)));
            }).find("the pipe: is a pipe from which nothing came for 0.2 s"),
            std::string::npos);
}

class Pairs : public TextFiles {
 protected:
  static PartFiles files(const std::vector<std::filesystem::path>& source,
                         const std::vector<std::filesystem::path>& target) {
    PartFiles out;
    for (const auto& path : source) out.source.push_back({path.string(), path.string()});
    for (const auto& path : target) out.target.push_back({path.string(), path.string()});
    if (target.empty()) out.format = config::TextFormat::kTsv;
    return out;
  }
  static std::vector<std::string> read(PairReader& reader) {
    std::vector<std::string> out;
    for (PairReader::Pair pair; reader.next(pair);)
      out.push_back(std::to_string(reader.file()) + " " + std::string(pair.source) + "|" +
                    std::string(pair.target));
    return out;
  }
};

TEST_F(Pairs, OfSeveralFilesAreOneCorpusHoweverItIsCutAndPacked) {
  PairReader one(files({write("s", "a\nb\nc\n")}, {write("t", "A\nB\nC\n")}));
  EXPECT_EQ(read(one), (std::vector<std::string>{"0 a|A", "0 b|B", "0 c|C"}));
  PairReader two(files({pack("s1.gz", "a\n"), write("s2", "b\nc\n")},
                       {write("t1", "A"), write("t2", "B\nC\n")}));
  EXPECT_EQ(read(two), (std::vector<std::string>{"0 a|A", "1 b|B", "1 c|C"}));
  EXPECT_EQ(two.hash(), one.hash());
  PairReader table(files({write("x.tsv", "a\tA\nb\tB\nc\tC\n")}, {}));
  EXPECT_EQ(read(table), (std::vector<std::string>{"0 a|A", "0 b|B", "0 c|C"}));
  EXPECT_EQ(table.hash(), one.hash());
  PairReader other(files({write("s", "a\nb\nd\n")}, {write("t", "A\nB\nC\n")}));
  static_cast<void>(read(other));
  EXPECT_NE(other.hash(), one.hash());
}

TEST_F(Pairs, UnequalCounts) {
  const auto source = write("s", "a\nb\n"), target = write("t", "A\nB\nC\n");
  for (const bool behind : {false, true}) {
    PairReader reader(behind ? files({write("s0", "x\n"), source}, {write("t0", "y\n"), target})
                             : files({source}, {target}));
    const std::string message = data_error([&] { static_cast<void>(read(reader)); });
    EXPECT_NE(message.find(source.string() + " has 2 lines"), std::string::npos) << message;
    EXPECT_NE(message.find(target.string() + " has 3"), std::string::npos) << message;
  }
}

TEST_F(Pairs, ATableHasTwoColumns) {
  for (const auto& [line, columns] :
       {std::pair("b", "1 column "), std::pair("b\tB\tx", "3 columns ")}) {
    const auto path = write("x.tsv", std::string("a\tA\n") + line + "\n");
    PairReader reader(files({path}, {}));
    const std::string message = data_error([&] { static_cast<void>(read(reader)); });
    EXPECT_EQ(message.find(path.string() + ":2: " + columns), 0U) << message;
  }
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

TEST(Text, WhiteLinesInUnicode) {
  for (const char* line : {"", " ", "\t \r", "\u00a0", " \u3000\u2003 ", "\u202f\u205f"})
    EXPECT_TRUE(is_white(line)) << line;
  for (const char* line : {"a", " \u00a0a", "\u200b", "\u4e00", "\xC2"})
    EXPECT_FALSE(is_white(line)) << line;
}

}  // namespace
}  // namespace th::data
