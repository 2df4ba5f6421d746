#pragma once

#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "th/config/schema.hpp"

// The makers of the key table's rows: strict conversion of whole tokens, and back. Each section of
// the deck has a function, add_SECTION, which adds its rows.

// TH_AT(section.member): the accessor of one member.
#define TH_AT(member) \
  [](RunConfig & c) -> auto& { return c.member; }

namespace th::config {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

/// Numbers that a key takes: from `low` to `high`, or to below `high`.
struct Interval {
  double low = 0;
  double high = kUnbounded;
  bool high_open = false;
};

/// A choice's values, as they are written in a deck and as they are kept.
template <typename Enum>
using Choices = std::vector<std::pair<std::string, Enum>>;

template <typename T>
bool parse_whole(const std::string& text, T& out) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, out);
  return result.ec == std::errc() && result.ptr == end && !text.empty();
}

template <typename T>
std::string to_text(T value) {
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return std::string(buffer, result.ptr);
}

/// `Member` is a callable RunConfig& -> T&.
template <typename Member>
Key integer_key(std::string name, Member member, std::int64_t low, std::int64_t high,
                std::string help, std::vector<std::string> absent = {}) {
  RunConfig defaults;
  const bool open = high == kMost;
  Key key{std::move(name),
          "integer",
          to_text(member(defaults)),
          "from " + to_text(low) + (open ? "" : " to " + to_text(high)),
          std::move(help),
          std::move(absent),
          {},
          {}};
  key.set = [member, low, high](RunConfig& c, const std::string& text) {
    std::int64_t value = 0;
    if (!parse_whole(text, value) || value < low || value > high) return false;
    member(c) = static_cast<std::remove_reference_t<decltype(member(c))>>(value);
    return true;
  };
  key.get = [member](const RunConfig& c) { return to_text(member(const_cast<RunConfig&>(c))); };
  return key;
}

template <typename Member>
Key number_key(std::string name, Member member, Interval interval, std::string help,
               std::vector<std::string> absent = {}) {
  RunConfig defaults;
  std::string allowed = "from " + to_text(interval.low);
  if (std::isfinite(interval.high))
    allowed += (interval.high_open ? " to below " : " to ") + to_text(interval.high);
  Key key{std::move(name),
          "number",
          to_text(member(defaults)),
          std::move(allowed),
          std::move(help),
          std::move(absent),
          {},
          {}};
  key.set = [member, interval](RunConfig& c, const std::string& text) {
    double value = 0;
    if (!parse_whole(text, value) || !std::isfinite(value)) return false;
    if (value < interval.low || value > interval.high) return false;
    if (interval.high_open && value == interval.high) return false;
    member(c) = value;
    return true;
  };
  key.get = [member](const RunConfig& c) { return to_text(member(const_cast<RunConfig&>(c))); };
  return key;
}

template <typename Member>
Key boolean_key(std::string name, Member member, std::string help,
                std::vector<std::string> absent = {}) {
  RunConfig defaults;
  Key key{std::move(name),
          "boolean",
          member(defaults) ? "true" : "false",
          "true, false",
          std::move(help),
          std::move(absent),
          {},
          {}};
  key.set = [member](RunConfig& c, const std::string& text) {
    if (text != "true" && text != "false") return false;
    member(c) = text == "true";
    return true;
  };
  key.get = [member](const RunConfig& c) {
    return member(const_cast<RunConfig&>(c)) ? "true" : "false";
  };
  return key;
}

template <typename Member, typename Enum>
Key choice_key(std::string name, Member member, Choices<Enum> values, std::string help,
               std::vector<std::string> absent = {}) {
  RunConfig defaults;
  std::string allowed;
  std::string standard;
  for (const auto& [text, value] : values) {
    allowed += (allowed.empty() ? "" : ", ") + text;
    if (value == member(defaults)) standard = text;
  }
  Key key{std::move(name), "choice", standard, allowed, std::move(help), std::move(absent), {}, {}};
  key.set = [member, values](RunConfig& c, const std::string& text) {
    for (const auto& [name_of, value] : values) {
      if (name_of != text) continue;
      member(c) = value;
      return true;
    }
    return false;
  };
  key.get = [member, values](const RunConfig& c) {
    for (const auto& [name_of, value] : values) {
      if (value == member(const_cast<RunConfig&>(c))) return name_of;
    }
    return std::string();
  };
  return key;
}

template <typename Member>
Key path_key(std::string name, Member member, std::string help) {
  Key key{std::move(name), "path", "", "a path", std::move(help), {}, {}, {}};
  key.set = [member](RunConfig& c, const std::string& text) {
    member(c) = text;
    return true;
  };
  key.get = [member](const RunConfig& c) { return member(const_cast<RunConfig&>(c)); };
  return key;
}

/// Each adds the rows of its section, in the order of the documentation.
void add_run(std::vector<Key>& t);
void add_model(std::vector<Key>& t);
void add_data(std::vector<Key>& t);
void add_train(std::vector<Key>& t);
void add_optimizer(std::vector<Key>& t);
void add_schedule(std::vector<Key>& t);
void add_precision(std::vector<Key>& t);
void add_zero(std::vector<Key>& t);
void add_comm(std::vector<Key>& t);
void add_checkpoint(std::vector<Key>& t);
void add_decode(std::vector<Key>& t);
void add_monitor(std::vector<Key>& t);
void add_profile(std::vector<Key>& t);
void add_plan(std::vector<Key>& t);

}  // namespace th::config
