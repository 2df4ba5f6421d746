#include "app/report/parts/text_form.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "app/report/page/html.hpp"

namespace {

using namespace th::app;

TEST(Escaping, MarkupIsText) {
  EXPECT_EQ(escaped("<script>alert('x & \"y\"')</script>"),
            "&lt;script&gt;alert(&#39;x &amp; &quot;y&quot;&#39;)&lt;/script&gt;");
  EXPECT_EQ(escaped("&lt;"), "&amp;lt;");
}

TEST(Escaping, KeepsUnicodeAndReplacesWhatIsNoUtf8) {
  EXPECT_EQ(escaped("Straße 数 🚂"), "Straße 数 🚂");
  EXPECT_EQ(clean_text("a\xff"
                       "b"),
            "a�b");
  EXPECT_EQ(clean_text("\xc0\xaf"), "��");            // overlong
  EXPECT_EQ(clean_text("\xed\xa0\x80"), "���");       // a surrogate
  EXPECT_EQ(clean_text("\xf4\x90\x80\x80"), "����");  // above U+10FFFF
  EXPECT_EQ(clean_text("\xe6\x95"), "��");            // cut
}

TEST(Escaping, ControlCharactersAreReplacedButNewlineAndTab) {
  EXPECT_EQ(clean_text(std::string_view("a\0\x1b\n\t\x7f", 6)), "a��\n\t�");
}

TEST(TextForm, ShortensByCharacters) {
  EXPECT_EQ(shortened("abcd", 4), "abcd");
  EXPECT_EQ(shortened("abcde", 4), "abc…");
  EXPECT_EQ(shortened("ääääää", 4), "äää…");
}

TEST(TextForm, NumbersForPeople) {
  EXPECT_EQ(count_form(0), "0");
  EXPECT_EQ(count_form(999), "999");
  EXPECT_EQ(count_form(1000), "1 000");
  EXPECT_EQ(count_form(-1234567), "-1 234 567");
  EXPECT_EQ(bytes_form(0), "0 B");
  EXPECT_EQ(bytes_form(1023), "1023 B");
  EXPECT_EQ(bytes_form(1536), "1.50 KiB");
  EXPECT_EQ(bytes_form(3.0 * (1 << 30)), "3.00 GiB");
  EXPECT_EQ(seconds_form(1.25), "1.2 s");
  EXPECT_EQ(seconds_form(65), "1:05 min");
  EXPECT_EQ(seconds_form(3671), "1:01:11 h");
  EXPECT_EQ(number_form(6.5309), "6.5309");
  EXPECT_EQ(number_form(HUGE_VAL), "not finite");
}

TEST(Html, EveryCellIsEscaped) {
  Table table;
  table.head = {"<a>"};
  table.rows = {{"<b>", "<c>"}};
  const std::string html = html_table(table) + html_facts({{"<d>", "<e>"}}) +
                           html_heading(2, "<f>", "\"g\"") + html_paragraph("<h>", "\"i\"") +
                           html_details("<j>", "<p>k</p>");
  for (const char letter : std::string("abcdefhj"))
    EXPECT_NE(html.find(std::string("&lt;") + letter + "&gt;"), std::string::npos) << letter;
  EXPECT_NE(html.find("<h2 id=\"&quot;g&quot;\">"), std::string::npos);
  EXPECT_NE(html.find("<p class=\"&quot;i&quot;\">"), std::string::npos);
  EXPECT_NE(html.find("<p>k</p>"), std::string::npos);
}

TEST(Html, EmptyTablesAndValuesAreLeftOut) {
  EXPECT_EQ(html_table({}), "");
  EXPECT_EQ(html_facts({{"a", ""}}), "");
  EXPECT_EQ(html_facts({{"a", ""}, {"b", "c"}}).find("<th scope=\"row\">a"), std::string::npos);
}

}  // namespace
