#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "th/config/schema.hpp"

// The makers of the key table's rows: strict conversion of whole tokens, and back. Each section of
// the deck has a function, add_SECTION, which adds its rows. The makers take plain arguments and
// stand in a file of their own, because a hundred rows of strings and std::function made in place
// take half a minute to compile.

// TH_AT(section.member): the accessor of one member.
#define TH_AT(member) \
  [](RunConfig & c) -> auto& { return c.member; }

namespace th::config {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

/// Numbers that a key takes: from `low` (or above it) to `high` (or below it).
struct Interval {
  double low = 0;
  double high = kUnbounded;
  bool high_open = false;
  bool low_open = false;
};

/// A choice's values, as they are written in a deck and as they are kept.
template <typename Enum>
using Choices = std::vector<std::pair<const char*, Enum>>;

/// A number that is the whole of `text`.
template <typename T>
bool parse_whole(const std::string& text, T& out) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, out);
  return result.ec == std::errc() && result.ptr == end && !text.empty();
}

/// The accessor of one member.
template <typename T>
using Place = T& (*)(RunConfig&);

Key integer_key(const char* name, Place<std::int64_t> place, std::int64_t low, std::int64_t high,
                const char* help);
Key integer_key(const char* name, Place<std::uint64_t> place, std::int64_t low, std::int64_t high,
                const char* help);
Key number_key(const char* name, Place<double> place, Interval interval, const char* help);
/// A word that stands for a number outside of the interval: the default, "as another key".
struct Fallback {
  const char* word;
  double value;
};
Key number_key(const char* name, Place<double> place, Interval interval, Fallback fallback,
               const char* help);
/// The same for a number that is 0 where the word stands.
Key integer_key(const char* name, Place<std::int64_t> place, Interval interval, const char* word,
                const char* help);
Key boolean_key(const char* name, Place<bool> place, const char* help);
Key path_key(const char* name, Place<std::string> place, const char* help);
/// Several paths with commas.
Key paths_key(const char* name, Place<std::string> place, const char* help);
/// Several numbers above 0 with commas, or none.
Key numbers_key(const char* name, Place<std::vector<double>> place, const char* help);

/// Several words, or sequences of words, with commas, or none.
Key words_key(const char* name, Place<std::vector<std::string>> place, const char* help);

/// Text that `valid` takes; `allowed` says what that is.
Key text_key(const char* name, Place<std::string> place, const char* allowed,
             std::function<bool(const std::string&)> valid, const char* help);

/// The row of a key of which a resume needs the checkpoint's value.
inline Key fixed(Key key) {
  key.on_resume = OnResume::kFixed;
  return key;
}
/// The row of a key that may differ without a word.
inline Key unchecked(Key key) {
  key.on_resume = OnResume::kUnchecked;
  return key;
}

/// A row without its functions.
Key named_key(const char* name, const char* type, std::string default_value, std::string allowed,
              const char* help);

/// A choice of any enumeration: its values as numbers, and how one is read and written.
struct NumberedChoice {
  std::vector<std::pair<const char*, int>> values;
  std::function<int(const RunConfig&)> read;
  std::function<void(RunConfig&, int)> write;
};
Key numbered_choice_key(const char* name, NumberedChoice choice, const char* help);
/// The same, or a path, which is kept at `path` where the choice has the value `of_path`.
Key numbered_choice_or_path_key(const char* name, NumberedChoice choice, int of_path,
                                Place<std::string> path, const char* help);

template <typename Enum>
NumberedChoice numbered(Place<Enum> place, const Choices<Enum>& values) {
  NumberedChoice choice;
  for (const auto& [text, value] : values)
    choice.values.emplace_back(text, static_cast<int>(value));
  choice.read = [place](const RunConfig& c) {
    return static_cast<int>(place(const_cast<RunConfig&>(c)));
  };
  choice.write = [place](RunConfig& c, int value) { place(c) = static_cast<Enum>(value); };
  return choice;
}

template <typename Enum>
Key choice_key(const char* name, std::type_identity_t<Place<Enum>> place,
               const Choices<Enum>& values, const char* help) {
  return numbered_choice_key(name, numbered<Enum>(place, values), help);
}

/// The first of the values stands for every one that has no word.
template <typename Enum>
Key choice_or_path_key(const char* name, std::type_identity_t<Place<Enum>> place,
                       const Choices<Enum>& values, std::type_identity_t<Enum> of_path,
                       Place<std::string> path, const char* help) {
  return numbered_choice_or_path_key(name, numbered<Enum>(place, values), static_cast<int>(of_path),
                                     path, help);
}

/// Each adds the rows of its section, in the order of the documentation.
void add_run(std::vector<Key>& t);
void add_model(std::vector<Key>& t);
void add_data(std::vector<Key>& t);
void add_tokenizer(std::vector<Key>& t);  ///< those of [data] that say how lines become ids
void add_train(std::vector<Key>& t);
void add_optimizer(std::vector<Key>& t);
void add_schedule(std::vector<Key>& t);
void add_precision(std::vector<Key>& t);
void add_zero(std::vector<Key>& t);
void add_comm(std::vector<Key>& t);
void add_checkpoint(std::vector<Key>& t);
void add_decode(std::vector<Key>& t);
void add_summarization(std::vector<Key>& t);
void add_valid(std::vector<Key>& t);
void add_monitor(std::vector<Key>& t);
void add_profile(std::vector<Key>& t);
void add_plan(std::vector<Key>& t);

}  // namespace th::config
