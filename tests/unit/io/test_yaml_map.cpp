#include <gtest/gtest.h>

#include "th/base/error.hpp"
#include "th/io/formats/yaml_map.hpp"

namespace {
using namespace th::io;

std::string value(const std::string& text) {
  const auto entries = read_yaml_map(text, "v.yml");
  return entries.at(0).key + "=" + entries.at(0).values.at(0);
}

TEST(YamlMap, PlainScalarsAreTheTextThatTheyAre) {
  EXPECT_EQ(value("12: 5\n"), "12=5");
  EXPECT_EQ(value("no: 5"), "no=5");
  EXPECT_EQ(value("~: 5\r\n"), "~=5");
  EXPECT_EQ(value("a:b: 7 # the seventh\n"), "a:b=7");
  EXPECT_EQ(value("it's: 1\n"), "it's=1");
  EXPECT_EQ(value("ünï: 1\n"), "ünï=1");
  EXPECT_EQ(value("version: v1 2025-05-24 22:34:42\n"), "version=v1 2025-05-24 22:34:42");
}

TEST(YamlMap, QuotedScalarsAreUnquoted) {
  EXPECT_EQ(value("\"a\\\"b\": 1\n"), "a\"b=1");
  EXPECT_EQ(value("\": \": 1\n"), ": =1");
  EXPECT_EQ(value("'it''s': 1\n"), "it's=1");
  EXPECT_EQ(value("\"\\u2581\\x41\\n\": 1\n"), "▁A\n=1");
  EXPECT_EQ(value("\"\\U0001F600\": 1\n"), "😀=1");
  EXPECT_EQ(value("? \"a: b\"\n: 4\n"), "a: b=4");
}

TEST(YamlMap, ListsAreByLinesOrInBrackets) {
  const auto entries = read_yaml_map(
      "---\na:\n  - 1\n  - \"two\"\nb:\n  []\nc: [x, 'y, z']\nd: \"\"\ne:\n- 3\n", "v.yml");
  ASSERT_EQ(entries.size(), 5U);
  EXPECT_EQ(entries[0].values, (std::vector<std::string>{"1", "two"}));
  EXPECT_TRUE(entries[1].list && entries[1].values.empty());
  EXPECT_EQ(entries[2].values, (std::vector<std::string>{"x", "y, z"}));
  EXPECT_EQ(entries[3].values, (std::vector<std::string>{""}));
  EXPECT_EQ(entries[4].values, (std::vector<std::string>{"3"}));
  EXPECT_EQ(entries[4].line, 9);
}

TEST(YamlMap, WhatIsNoFlatMapIsNamedWithItsLine) {
  for (const char* text :
       {"a: 1\nb\n", "a: 1\n\"b: 2\n", "a: 1\n\"b\\q\": 2\n", "a: 1\nb: {c: 1}\n", "a: 1\n  b: 2\n",
        "a: 1\nb: [1, 2\n", "a: 1\n\"\\ud800\": 2\n"}) {
    try {
      (void)read_yaml_map(text, "v.yml");
      ADD_FAILURE() << text;
    } catch (const th::DataError& error) {
      EXPECT_EQ(std::string(error.what()).find("v.yml:2: "), 0U) << error.what();
    }
  }
}

}  // namespace
