#include "score/unicode.hpp"
#include "th/score/bleu.hpp"

#include <array>
#include <utility>

// The words of BLEU. The rules are sacrebleu's, which are those of NIST's mteval-v13a.pl; they are
// applied to code points, one rule after the other over the whole line, because a rule sees the
// spaces that the one before it has set.
namespace th::score {

namespace {

using Text = std::u32string;

constexpr bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
constexpr bool is_stop(char32_t c) { return c == U'.' || c == U','; }

/// ASCII punctuation but for the apostrophe, comma, hyphen and full stop; the space too.
constexpr bool stands_alone(char32_t c) {
  return (c >= U' ' && c <= U'&') || (c >= U'(' && c <= U'+') || c == U'/' ||
         (c >= U':' && c <= U'@') || (c >= U'[' && c <= U'`') || (c >= U'{' && c <= U'~');
}

void set_apart(Text& out, char32_t c) {
  out += U' ';
  out += c;
  out += U' ';
}

Text split_punctuation(const Text& in) {
  Text out;
  for (const char32_t c : in) {
    if (stands_alone(c))
      set_apart(out, c);
    else
      out += c;
  }
  return out;
}

/// A pair of neighbours that fits is written anew and passed over, as a substitution does.
template <typename Fits, typename Write>
Text replace_pairs(const Text& in, Fits fits, Write write) {
  Text out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (i + 1 < in.size() && fits(in[i], in[i + 1])) {
      write(out, in[i], in[i + 1]);
      ++i;
    } else {
      out += in[i];
    }
  }
  return out;
}

/// Stops and commas are apart unless a digit stands on that side; a hyphen behind a digit is.
Text split_stops(Text text) {
  text = replace_pairs(
      text, [](char32_t a, char32_t b) { return !is_digit(a) && is_stop(b); },
      [](Text& out, char32_t a, char32_t b) {
        out += a;
        set_apart(out, b);
      });
  text = replace_pairs(
      text, [](char32_t a, char32_t b) { return is_stop(a) && !is_digit(b); },
      [](Text& out, char32_t a, char32_t b) {
        set_apart(out, a);
        out += b;
      });
  return replace_pairs(
      text, [](char32_t a, char32_t b) { return is_digit(a) && b == U'-'; },
      [](Text& out, char32_t a, char32_t b) {
        out += a;
        set_apart(out, b);
      });
}

void replace_all(Text& text, std::u32string_view what, std::u32string_view with) {
  for (std::size_t at = text.find(what); at != Text::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

Text by_13a(Text line) {
  replace_all(line, U"<skipped>", U"");
  replace_all(line, U"-\n", U"");
  replace_all(line, U"&quot;", U"\"");
  replace_all(line, U"&amp;", U"&");
  replace_all(line, U"&lt;", U"<");
  replace_all(line, U"&gt;", U">");
  return split_stops(split_punctuation(U' ' + line + U' '));
}

/// sacrebleu's list of ranges, as it takes effect: two of them were meant for code points above
/// U+FFFF and are compared as texts of two characters, which makes them U+2001 to U+2A6D and U+2F81
/// to U+2FA1.
bool is_chinese(char32_t c) {
  static constexpr std::array<std::pair<char32_t, char32_t>, 17> kRanges = {{{0x2001, 0x2A6D},
                                                                             {0x2E80, 0x2EFF},
                                                                             {0x2F00, 0x2FDF},
                                                                             {0x2FF0, 0x2FFF},
                                                                             {0x3000, 0x303F},
                                                                             {0x3100, 0x312F},
                                                                             {0x31A0, 0x31BF},
                                                                             {0x31C0, 0x31EF},
                                                                             {0x3200, 0x33FF},
                                                                             {0x3400, 0x4DB5},
                                                                             {0x4E00, 0x9FBB},
                                                                             {0xF900, 0xFA2D},
                                                                             {0xFA30, 0xFA6A},
                                                                             {0xFA70, 0xFAD9},
                                                                             {0xFE10, 0xFE1F},
                                                                             {0xFE30, 0xFE4F},
                                                                             {0xFF00, 0xFFEF}}};
  for (const auto& [low, high] : kRanges)
    if (c >= low && c <= high) return true;
  return false;
}

Text by_zh(std::u32string_view line) {
  Text out;
  for (const char32_t c : trimmed(line)) {
    if (is_chinese(c))
      set_apart(out, c);
    else
      out += c;
  }
  return split_stops(split_punctuation(out));
}

}  // namespace

std::vector<std::u32string> bleu_words(std::string_view line, BleuTokenizer tokenizer) {
  Text text = code_points(line);
  while (!text.empty() && is_space(text.back())) text.pop_back();
  if (tokenizer == BleuTokenizer::k13a) text = by_13a(std::move(text));
  if (tokenizer == BleuTokenizer::kZh) text = by_zh(text);
  std::vector<Text> words;
  if (tokenizer == BleuTokenizer::kChar) {
    for (const char32_t c : text)
      if (!is_space(c)) words.emplace_back(1, c);
    return words;
  }
  for (const std::u32string_view word : split(text)) words.emplace_back(word);
  return words;
}

}  // namespace th::score
