#include "config/key_table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

namespace th::config {

Key named_key(const char* name, const char* type, std::string default_value, std::string allowed,
              const char* help) {
  Key key;
  key.name = name;
  key.type = type;
  key.default_value = std::move(default_value);
  key.allowed = std::move(allowed);
  key.help = help;
  return key;
}

namespace {

template <typename T>
std::string to_text(T value) {
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, result.ptr);
}

/// The value as the configuration has it.
template <typename T>
const T& value_at(Place<T> place, const RunConfig& config) {
  return place(const_cast<RunConfig&>(config));
}

template <typename Integer>
Key integer_row(const char* name, Place<Integer> place, std::int64_t low, std::int64_t high,
                const char* help) {
  Key key = named_key(name, "integer", to_text(value_at(place, RunConfig())),
                      "from " + to_text(low) + (high == kMost ? "" : " to " + to_text(high)), help);
  key.set = [place, low, high](RunConfig& c, const std::string& text) {
    std::int64_t value = 0;
    if (!parse_whole(text, value) || value < low || value > high) return false;
    place(c) = static_cast<Integer>(value);
    return true;
  };
  key.get = [place](const RunConfig& c) { return to_text(value_at(place, c)); };
  return key;
}

}  // namespace

Key integer_key(const char* name, Place<std::int64_t> place, std::int64_t low, std::int64_t high,
                const char* help) {
  return integer_row(name, place, low, high, help);
}

Key integer_key(const char* name, Place<std::uint64_t> place, std::int64_t low, std::int64_t high,
                const char* help) {
  return integer_row(name, place, low, high, help);
}

Key number_key(const char* name, Place<double> place, Interval interval, const char* help) {
  std::string allowed = (interval.low_open ? "above " : "from ") + to_text(interval.low);
  if (std::isfinite(interval.high))
    allowed += (interval.high_open ? " to below " : " to ") + to_text(interval.high);
  Key key = named_key(name, "number", to_text(value_at(place, RunConfig())), allowed, help);
  key.set = [place, interval](RunConfig& c, const std::string& text) {
    double value = 0;
    if (!parse_whole(text, value) || !std::isfinite(value)) return false;
    if (value < interval.low || value > interval.high) return false;
    if (interval.high_open && value == interval.high) return false;
    if (interval.low_open && value == interval.low) return false;
    place(c) = value;
    return true;
  };
  key.get = [place](const RunConfig& c) { return to_text(value_at(place, c)); };
  return key;
}

Key number_key(const char* name, Place<double> place, Interval interval, Fallback fallback,
               const char* help) {
  Key key = number_key(name, place, interval, help);
  key.default_value = fallback.word;
  key.allowed = std::string(fallback.word) + ", or " + key.allowed;
  key.set = [place, fallback, number = key.set](RunConfig& c, const std::string& text) {
    if (text != fallback.word) return number(c, text);
    place(c) = fallback.value;
    return true;
  };
  key.get = [place, fallback, number = key.get](const RunConfig& c) {
    return value_at(place, c) == fallback.value ? fallback.word : number(c);
  };
  return key;
}

Key integer_key(const char* name, Place<std::int64_t> place, Interval interval, const char* word,
                const char* help) {
  Key key = integer_row(name, place, static_cast<std::int64_t>(interval.low),
                        static_cast<std::int64_t>(interval.high), help);
  key.default_value = word;
  key.allowed = std::string(word) + ", or " + key.allowed;
  key.set = [place, word, number = key.set](RunConfig& c, const std::string& text) {
    if (text != word) return number(c, text);
    place(c) = 0;
    return true;
  };
  key.get = [place, word, number = key.get](const RunConfig& c) {
    return value_at(place, c) == 0 ? word : number(c);
  };
  return key;
}

Key boolean_key(const char* name, Place<bool> place, const char* help) {
  Key key = named_key(name, "boolean", value_at(place, RunConfig()) ? "true" : "false",
                      "true, false", help);
  key.set = [place](RunConfig& c, const std::string& text) {
    if (text != "true" && text != "false") return false;
    place(c) = text == "true";
    return true;
  };
  key.get = [place](const RunConfig& c) { return value_at(place, c) ? "true" : "false"; };
  return key;
}

Key path_key(const char* name, Place<std::string> place, const char* help) {
  Key key = named_key(name, "path", "", "a path", help);
  key.set = [place](RunConfig& c, const std::string& text) {
    place(c) = text;
    return true;
  };
  key.get = [place](const RunConfig& c) { return value_at(place, c); };
  return key;
}

Key text_key(const char* name, Place<std::string> place, const char* allowed,
             std::function<bool(const std::string&)> valid, const char* help) {
  Key key = named_key(name, "text", value_at(place, RunConfig()), allowed, help);
  key.set = [place, valid = std::move(valid)](RunConfig& c, const std::string& text) {
    if (!valid(text)) return false;
    place(c) = text;
    return true;
  };
  key.get = [place](const RunConfig& c) { return value_at(place, c); };
  return key;
}

std::vector<std::string> files_of(const std::string& value) {
  std::vector<std::string> files;
  std::istringstream in(value);
  for (std::string file; std::getline(in, file, ',');) files.push_back(file);
  if (value.ends_with(',')) files.emplace_back();
  return files;
}

Key paths_key(const char* name, Place<std::string> place, const char* help) {
  Key key = named_key(name, "list of paths", "", "a path, or several with commas", help);
  key.set = [place](RunConfig& c, const std::string& text) {
    const std::vector<std::string> files = files_of(text);
    if (std::find(files.begin(), files.end(), "") != files.end()) return false;
    place(c) = text;
    return true;
  };
  key.get = [place](const RunConfig& c) { return value_at(place, c); };
  return key;
}

std::vector<std::string> words_of(const std::string& value) {
  std::vector<std::string> words = files_of(value);
  for (std::string& word : words) {
    word.erase(0, std::min(word.find_first_not_of(' '), word.size()));
    word.erase(word.find_last_not_of(' ') + 1);
  }
  return words;
}

Key words_key(const char* name, Place<std::vector<std::string>> place, const char* help) {
  Key key = named_key(name, "list of words", "", "words with commas, without #", help);
  key.set = [place](RunConfig& c, const std::string& text) {
    std::vector<std::string> words = words_of(text);
    if (std::find(words.begin(), words.end(), "") != words.end()) return false;
    // Else the resolved deck would not read back: # begins a comment.
    if (std::any_of(text.begin(), text.end(),
                    [](char letter) { return letter == '#' || letter == '\n'; }))
      return false;
    place(c) = std::move(words);
    return true;
  };
  key.get = [place](const RunConfig& c) {
    std::string text;
    for (const std::string& word : value_at(place, c)) text += (text.empty() ? "" : ",") + word;
    return text;
  };
  return key;
}

Key numbers_key(const char* name, Place<std::vector<double>> place, const char* help) {
  Key key = named_key(name, "list of numbers", "", "numbers above 0 with commas", help);
  key.set = [place](RunConfig& c, const std::string& text) {
    std::vector<double> values;
    for (const std::string& word : words_of(text)) {
      double value = 0;
      if (!parse_whole(word, value) || !std::isfinite(value) || value <= 0) return false;
      values.push_back(value);
    }
    place(c) = std::move(values);
    return true;
  };
  key.get = [place](const RunConfig& c) {
    std::string text;
    for (const double value : value_at(place, c)) {
      if (!text.empty()) text += ",";
      text += to_text(value);
    }
    return text;
  };
  return key;
}

Key numbered_choice_key(const char* name, NumberedChoice choice, const char* help) {
  std::string allowed;
  std::string standard;
  const int default_value = choice.read(RunConfig());
  for (const auto& [text, value] : choice.values) {
    allowed += (allowed.empty() ? "" : ", ") + std::string(text);
    if (value == default_value) standard = text;
  }
  Key key = named_key(name, "choice", standard, allowed, help);
  key.set = [choice](RunConfig& c, const std::string& text) {
    for (const auto& [known, value] : choice.values) {
      if (known != text) continue;
      choice.write(c, value);
      return true;
    }
    return false;
  };
  key.get = [choice](const RunConfig& c) -> std::string {
    const int current = choice.read(c);
    for (const auto& [known, value] : choice.values) {
      if (value == current) return known;
    }
    return "";
  };
  return key;
}

Key numbered_choice_or_path_key(const char* name, NumberedChoice choice, int of_path,
                                Place<std::string> path, const char* help) {
  Key key = numbered_choice_key(name, choice, help);
  const std::string first = choice.values.front().first;
  key.default_value = first;
  key.allowed += ", a path";
  key.set = [choice, of_path, path, word = key.set](RunConfig& c, const std::string& text) {
    if (text.empty()) return false;
    const bool named = word(c, text);
    path(c) = named ? "" : text;
    if (!named) choice.write(c, of_path);
    return true;
  };
  key.get = [choice, of_path, path, first, word = key.get](const RunConfig& c) {
    if (choice.read(c) == of_path) return value_at(path, c);
    const std::string text = word(c);
    return text.empty() ? first : text;
  };
  return key;
}

}  // namespace th::config
