#include <array>
#include <cstring>
#include <numeric>

#include "temporary_folder.hpp"
#include "th/base/error.hpp"
#include "th/io/formats/npz.hpp"
#include "th/io/formats/npz_reader.hpp"

namespace {
using namespace th::io;

class Npz : public TemporaryFolder {
 protected:
  /// A file of one array `x` [2, 3] of 1 to 6 and one of fp16.
  std::string written() const {
    const std::string path = dir_ + "/w.npz";
    OutputFile file(path, Existing::kReplace);
    NpzWriter writer(file);
    writer.add("x", {2, 3}, th::ElementType::kFp32, std::array<float, 6>{1, 2, 3, 4, 5, 6});
    writer.add("short", {2}, th::ElementType::kFp16, std::array<float, 2>{0.5F, -2.0F});
    writer.finish();
    file.commit();
    return path;
  }
  static std::string problem(const std::string& path) {
    try {
      const NpzReader reader(path);
      for (const auto& [name, array] : reader.arrays()) (void)reader.read(name);
    } catch (const th::CheckpointError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Npz, WhatIsWrittenIsRead) {
  const NpzReader reader(written());
  ASSERT_EQ(reader.arrays().size(), 2U);
  EXPECT_EQ(reader.arrays().at("x").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(reader.read("x"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(reader.read("short"), (std::vector<float>{0.5F, -2.0F}));
  EXPECT_THROW((void)reader.read("y"), th::CheckpointError);
  EXPECT_THROW((void)reader.read_bytes("x"), th::CheckpointError);
}

TEST_F(Npz, EveryCutIsNamed) {
  const std::string whole = content(written());
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 7) {
    put(dir_ + "/cut.npz", whole.substr(0, bytes));
    EXPECT_NE(problem(dir_ + "/cut.npz").find("cut.npz"), std::string::npos) << bytes;
  }
}

TEST_F(Npz, AnyChangedByteIsNamedOrHarmless) {
  const std::string path = written(), whole = content(path);
  std::int64_t found = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x41);
    put(path, changed);
    found += problem(path).empty() ? 0 : 1;  // and throws nothing else
  }
  EXPECT_GT(found, std::ssize(whole) / 2);
}

TEST_F(Npz, AValueThatChangedIsFoundByItsChecksum) {
  const std::string path = written();
  std::string bytes = content(path);
  const float three = 3;
  std::string pattern(sizeof three, '\0');
  std::memcpy(pattern.data(), &three, sizeof three);
  const std::size_t at = bytes.find(pattern);
  ASSERT_NE(at, std::string::npos);
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  put(path, bytes);
  EXPECT_NE(problem(path).find("checksum"), std::string::npos) << problem(path);
}

TEST_F(Npz, ModelsOfMarianAreRead) {
  const NpzReader reader(std::string(TH_SOURCE_DIR) + "/tests/data/marian/model.npz");
  EXPECT_EQ(reader.arrays().at("Wemb").shape, (std::vector<std::int64_t>{220, 32}));
  const std::string yaml = reader.read_bytes("special:model.yml");
  EXPECT_NE(yaml.find("transformer-heads: 2"), std::string::npos);
  EXPECT_EQ(reader.read("Wemb").size(), 220U * 32);
}

}  // namespace
