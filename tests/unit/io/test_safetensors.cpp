#include <cstring>
#include <nlohmann/json.hpp>

#include "temporary_folder.hpp"
#include "th/base/error.hpp"
#include "th/io/formats/npz.hpp"
#include "th/io/formats/safetensors.hpp"

namespace {
using namespace th::io;

class Safetensors : public TemporaryFolder {
 protected:
  /// A file with the given header text and data.
  std::string file_with(const std::string& header, const std::string& data,
                        std::int64_t length = -1) const {
    const std::uint64_t size = length < 0 ? header.size() : static_cast<std::uint64_t>(length);
    std::string text(8, '\0');
    std::memcpy(text.data(), &size, 8);
    put(dir_ + "/x.safetensors", text + header + data);
    return dir_ + "/x.safetensors";
  }
  static std::string problem(const std::string& path) {
    try {
      const SafetensorsReader reader(path);
    } catch (const th::CheckpointError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Safetensors, WhatIsWrittenIsReadAndLiesAsTheFormatSays) {
  const std::string path = dir_ + "/w.safetensors";
  const std::vector<float> wide = {1, 2, 3, 4, 5, 6}, narrow = {0.5F, -1.0F, 3.0F};
  {
    OutputFile file(path, Existing::kRefuse);
    SafetensorsWriter writer(
        file,
        {{"a", {3}, th::ElementType::kBf16, 0, 0}, {"z", {2, 3}, th::ElementType::kFp32, 0, 0}},
        {{"deck", "é\n\"x\""}});
    ASSERT_EQ(writer.tensors()[0].name, "z") << "wider elements come first";
    writer.write(wide);
    writer.write(narrow);
    file.commit();
  }
  const std::string bytes = content(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  EXPECT_EQ(header["z"]["data_offsets"], nlohmann::json({0, 24}));
  EXPECT_EQ(header["a"]["data_offsets"], nlohmann::json({24, 30}));
  EXPECT_EQ(bytes.size(), 8 + length + 30);
  const SafetensorsReader reader(path);
  EXPECT_EQ(reader.metadata().at("deck"), "é\n\"x\"");
  EXPECT_EQ(reader.tensors().at("z").shape, (std::vector<std::int64_t>{2, 3}));
  std::vector<float> middle(2), all(3);
  reader.read("z", 3, middle);
  reader.read("a", 0, all);
  EXPECT_EQ(middle, (std::vector<float>{4, 5}));
  EXPECT_EQ(all, narrow);
}

TEST_F(Safetensors, DamageOfEveryKindIsNamed) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_EQ(problem(file_with("{" + a + "}", std::string(8, '\0'))), "");
  EXPECT_NE(problem(dir_ + "/absent").find("cannot open"), std::string::npos);
  EXPECT_NE(problem(dir_).find("is not a file"), std::string::npos);
  const struct {
    std::string header, data, expected;
    std::int64_t length = -1;
  } cases[] = {
      {"{" + a + "}", std::string(7, 'x'), "cut off"},
      {"{" + a + "}", std::string(9, 'x'), "holds 9 bytes of data, its header 8"},
      {"{" + a + "}", "", "says that its header has 4096 bytes", 4096},
      {"{" + a + "}", "", "says that its header has", std::int64_t{1} << 62},
      {"{" + a, std::string(8, 'x'), "can't be read"},
      {"", "", "can't be read"},
      {"[1]", "", "no JSON object"},
      {"{" + a + "," + a + "}", std::string(8, 'x'), "\"a\" twice"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", std::string(12, 'x'),
       "overlap or leave a gap"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
       std::string(16, 'x'), "overlap or leave a gap"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", std::string(8, 'x'),
       "dtype F64; allowed F32, F16, BF16"},
      {R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}})", std::string(8, 'x'),
       "not what its shape and dtype take"},
      {R"({"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}})", std::string(8, 'x'),
       "not what its shape and dtype take"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "",
       "not what its shape and dtype take"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", std::string(8, 'x'),
       "not what its shape and dtype take"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", std::string(8, 'x'),
       "1 numbers, not 2"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", std::string(8, 'x'), "can't be read"},
      {R"({"__metadata__":{"k":1}})", "", "can't be read"},
      {R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", std::string(8, 'x'),
       "can't be read"},
      {R"({"a":{"dtype":"F32","shape":[1e300],"data_offsets":[0,8]}})", std::string(8, 'x'),
       "can't be read"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[false,8]}})", std::string(8, 'x'),
       "can't be read"},
      {R"({"a":)" + std::string(100'000, '['), "", "can't be read"},
  };
  for (const auto& c : cases)
    EXPECT_NE(problem(file_with(c.header, c.data, c.length)).find(c.expected), std::string::npos)
        << c.header << "\n"
        << problem(file_with(c.header, c.data, c.length));
  put(dir_ + "/short", "1234567");
  EXPECT_NE(problem(dir_ + "/short").find("7 bytes"), std::string::npos);
}

TEST_F(Safetensors, NpzMemberHasAnAlignedHeaderAndItsChecksum) {
  const std::string path = dir_ + "/w.npz";
  {
    OutputFile file(path, Existing::kRefuse);
    NpzWriter writer(file);
    writer.add("a/b", {2}, th::ElementType::kFp32, std::vector<float>{1.0F, 2.0F});
    writer.add("scalar", {}, th::ElementType::kFp16, std::vector<float>{3.0F});
    EXPECT_THROW(writer.add("c", {1}, th::ElementType::kBf16, std::vector<float>{1.0F}),
                 th::InternalError);
    writer.finish();
    file.commit();
  }
  const std::string bytes = content(path);
  EXPECT_EQ(bytes.substr(0, 4), "PK\x03\x04");
  const std::size_t npy = bytes.find("\x93NUMPY");
  ASSERT_EQ(npy, 30U + std::strlen("a/b.npy") + 20U);
  EXPECT_EQ(bytes.substr(npy + 10, bytes.find('\n', npy) - npy - 10)
                .find("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"),
            0U);
  EXPECT_EQ((bytes.find('\n', npy) + 1 - npy) % 64, 0U);
  EXPECT_NE(bytes.find("'shape': (), }"), std::string::npos);
  EXPECT_NE(bytes.find("PK\x06\x06"), std::string::npos) << "the zip64 end record";
  EXPECT_EQ(bytes.substr(bytes.size() - 22, 4), "PK\x05\x06");
}

}  // namespace
