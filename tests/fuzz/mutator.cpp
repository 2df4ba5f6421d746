#include "mutator.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace th::fuzz {
namespace {

constexpr std::array<std::string_view, 30> kNumbers = {"0",
                                                       "-0",
                                                       "1",
                                                       "-1",
                                                       "2",
                                                       "7",
                                                       "127",
                                                       "255",
                                                       "256",
                                                       "65535",
                                                       "65536",
                                                       "1000000",
                                                       "2147483647",
                                                       "2147483648",
                                                       "-2147483649",
                                                       "4294967295",
                                                       "4294967296",
                                                       "1099511627776",
                                                       "4611686018427387904",
                                                       "9223372036854775807",
                                                       "9223372036854775808",
                                                       "-9223372036854775808",
                                                       "18446744073709551615",
                                                       "18446744073709551616",
                                                       "0.5",
                                                       "1e5",
                                                       "1e300",
                                                       "-1e300",
                                                       "1e999",
                                                       "nan"};

constexpr std::array<std::uint64_t, 18> kBinary = {0,
                                                   1,
                                                   2,
                                                   3,
                                                   0x7f,
                                                   0x80,
                                                   0xff,
                                                   0x7fff,
                                                   0x8000,
                                                   0xffff,
                                                   0x10000,
                                                   0x7fffffff,
                                                   0x80000000,
                                                   0xffffffff,
                                                   0x100000000,
                                                   0x7fffffffffffffff,
                                                   0x8000000000000000,
                                                   0xffffffffffffffff};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::size_t Mutator::below(std::size_t count) {
  return count < 2 ? 0 : static_cast<std::size_t>(random_() % count);
}

Mutator::Range Mutator::range(const std::string& text) {
  const std::size_t at = below(text.size()), room = text.size() - at;
  // Short ones mostly.
  const std::size_t most = below(4) == 0 ? room : std::min<std::size_t>(room, 32);
  return {at, most == 0 ? 0 : 1 + below(most)};
}

std::string Mutator::next(const std::vector<std::string>& pool) {
  // The later half of the pool was found last, and leads on.
  const std::size_t half = pool.size() / 2;
  const std::size_t from = below(2) == 0 ? half : 0;
  std::string text = pool[from + below(pool.size() - from)];
  for (std::size_t changes = std::size_t{1} << below(4), i = 0; i < changes; ++i)
    change(text, pool);
  if (text.size() > longest_) text.resize(longest_);
  return text;
}

void Mutator::change(std::string& text, const std::vector<std::string>& pool) {
  const std::size_t kind = below(16);
  if (kind < 6)
    change_bytes(text, kind);
  else if (kind < 12)
    change_ranges(text, kind, pool);
  else if (kind < 14)
    change_number(text);
  else
    change_binary_number(text);
}

void Mutator::change_bytes(std::string& text, std::size_t kind) {
  const std::size_t at = below(text.size() + (kind >= 3 ? 1 : 0));
  if (kind < 3 && text.empty()) return;
  switch (kind) {
    case 0:
      text[at] = static_cast<char>(text[at] ^ static_cast<char>(1U << below(8)));
      break;
    case 1:
      text[at] = static_cast<char>(random_());
      break;
    case 2: {
      const std::string& word = words_[below(words_.size())];
      text.replace(at, std::min(word.size(), text.size() - at), word);
      break;
    }
    case 3:
      text.insert(at, words_[below(words_.size())]);
      break;
    case 4:
      text.insert(at, 1, static_cast<char>(random_()));
      break;
    default: {  // one byte many times: brackets within brackets, zeros, blanks
      const char byte = text.empty() || below(3) == 0 ? '\0' : text[below(text.size())];
      text.insert(at, std::size_t{1} << below(14), byte);
      break;
    }
  }
}

void Mutator::change_ranges(std::string& text, std::size_t kind,
                            const std::vector<std::string>& pool) {
  const Range part = range(text);
  const std::size_t to = below(text.size() + 1);
  switch (kind) {
    case 6:
      text.erase(part.at, part.length);
      break;
    case 7:
      text.resize(part.at);
      break;
    case 8: {  // again, and again
      const std::string again = text.substr(part.at, part.length);
      for (std::size_t i = 0, times = std::size_t{1} << below(7);
           i < times && text.size() <= longest_; ++i)
        text.insert(to, again);
      break;
    }
    case 9: {
      const std::string moved = text.substr(part.at, part.length);
      text.erase(part.at, part.length);
      text.insert(std::min(to, text.size()), moved);
      break;
    }
    case 10: {  // the end of another input, or a part of it
      const std::string& other = pool[below(pool.size())];
      const Range from = range(other);
      if (below(2) == 0)
        text.replace(part.at, std::string::npos, other, from.at, std::string::npos);
      else
        text.insert(to, other, from.at, from.length);
      break;
    }
    default: {
      const std::string copy = text.substr(part.at, part.length);
      text.replace(to, std::min(copy.size(), text.size() - to), copy);
      break;
    }
  }
}

void Mutator::change_number(std::string& text) {
  const std::size_t from = below(text.size());
  const auto begin =
      std::find_if(text.begin() + static_cast<std::ptrdiff_t>(std::min(from, text.size())),
                   text.end(), is_digit);
  if (begin == text.end()) return;
  const auto end = std::find_if_not(begin, text.end(), is_digit);
  const auto at = static_cast<std::size_t>(begin - text.begin());
  std::string number(kNumbers[below(kNumbers.size())]);
  if (below(4) == 0) number = std::to_string(random_() >> below(64));
  text.replace(at, static_cast<std::size_t>(end - begin), number);
}

void Mutator::change_binary_number(std::string& text) {
  const std::size_t bytes = std::size_t{1} << below(4);
  if (text.size() < bytes) return;
  const std::size_t at = below(text.size() - bytes + 1);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i)
    value |= std::uint64_t{static_cast<unsigned char>(text[at + i])} << (8 * i);
  switch (below(4)) {
    case 0:  // a little more or less
      value += below(64) - std::uint64_t{32};
      break;
    case 1:  // lengths and places within the file
      value = below(text.size() + 16);
      break;
    default:
      value = kBinary[below(kBinary.size())];
      break;
  }
  for (std::size_t i = 0; i < bytes; ++i) text[at + i] = static_cast<char>(value >> (8 * i));
}

}  // namespace th::fuzz
