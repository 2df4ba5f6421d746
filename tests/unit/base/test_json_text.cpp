#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "th/base/json_text.hpp"

namespace th {
namespace {

using Json = nlohmann::json;

std::string nested(int depth) {
  const auto count = static_cast<std::size_t>(depth);
  return std::string(count, '[') + std::string(count, ']');
}

TEST(JsonText, DepthIsBounded) {
  EXPECT_EQ(json_text(parse_json(nested(kDeepestJson))), nested(kDeepestJson));
  EXPECT_THROW((void)parse_json(nested(kDeepestJson + 1)), Json::exception);
  EXPECT_THROW((void)parse_json(std::string(5'000'000, '[')), Json::exception);
  std::string objects;
  for (int i = 0; i <= kDeepestJson; ++i) objects += "{\"a\":";
  EXPECT_THROW((void)parse_json(objects, [](const std::string&) {}), Json::exception);
}

TEST(JsonText, BracketsOfStringsAndOfNeighboursAreNotDeep) {
  const std::string brackets(1000, '[');
  EXPECT_EQ(parse_json("\"\\\"" + brackets + "\"").get<std::string>(), "\"" + brackets);
  std::string many = "[[]";
  for (int i = 0; i < 1000; ++i) many += ",[]";
  EXPECT_EQ(parse_json(many + "]").size(), 1001U);
}

TEST(JsonText, IntegersAreWhatIsWrittenAsOnes) {
  EXPECT_EQ(json_integer(parse_json("-9223372036854775808")), INT64_MIN);
  EXPECT_EQ(json_integer(parse_json("9223372036854775807")), INT64_MAX);
  EXPECT_EQ(json_unsigned(parse_json("18446744073709551615")), UINT64_MAX);
  EXPECT_EQ(json_unsigned(Json(7)), 7U);
  EXPECT_EQ(json_integers(parse_json("[1,-2]")), (std::vector<std::int64_t>{1, -2}));
  for (const char* text : {"1.0", "1e300", "true", "null", "\"1\"", "[1]", "9223372036854775808"})
    EXPECT_THROW((void)json_integer(parse_json(text)), Json::exception) << text;
  for (const char* text : {"-1", "1.5", "18446744073709551616", "false", "{}"})
    EXPECT_THROW((void)json_unsigned(parse_json(text)), Json::exception) << text;
  for (const char* text : {"1", "{\"a\":1}", "[1.0]", "[[1]]", "null"})
    EXPECT_THROW((void)json_integers(parse_json(text)), Json::exception) << text;
}

}  // namespace
}  // namespace th
