#include "app/report/files/run_log.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string_view>

#include "app/report/parts/line_stream.hpp"

namespace th::app {

namespace {

constexpr std::size_t kMostWarnings = 20, kMostLines = 50, kMostSamples = 8;
constexpr std::size_t kLongestLine = 4000;

/// The length of "2026-11-30 02:32:43 "; 0 for a line without a time.
std::size_t time_length(std::string_view line) {
  constexpr std::string_view kForm = "0000-00-00 00:00:00 ";
  if (line.size() < kForm.size()) return 0;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = line[i] >= '0' && line[i] <= '9';
    if (kForm[i] == '0' ? !digit : line[i] != kForm[i]) return 0;
  }
  return kForm.size();
}

/// "9.99 MiB" in bytes.
std::optional<double> size_in_bytes(const std::string& number, const std::string& unit) {
  double value = 0, factor = 1;
  const char* const end = number.data() + number.size();
  if (const auto [stop, error] = std::from_chars(number.data(), end, value);
      error != std::errc() || stop != end)
    return std::nullopt;
  for (const char* name : {"B", "KiB", "MiB", "GiB", "TiB"}) {
    if (unit == name) return value * factor;
    factor *= 1024;
  }
  return std::nullopt;
}

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

/// "gather slots 9.99 MiB / 10.00 MiB (+0.1 %)".
std::optional<MemoryClassBytes> memory_class_of(std::string_view text) {
  const std::size_t slash = text.find(" / ");
  if (slash == std::string_view::npos) return std::nullopt;
  const std::vector<std::string> left = words_of(text.substr(0, slash));
  const std::vector<std::string> right = words_of(text.substr(slash + 3));
  if (left.size() < 3 || right.size() < 2) return std::nullopt;
  MemoryClassBytes out;
  for (std::size_t i = 0; i + 2 < left.size(); ++i)
    out.name += (out.name.empty() ? "" : " ") + left[i];
  const auto planned = size_in_bytes(left[left.size() - 2], left.back());
  const auto measured = size_in_bytes(right[0], right[1]);
  if (!planned || !measured) return std::nullopt;
  out.planned = *planned;
  out.measured = *measured;
  return out;
}

/// "planned 151.25 MiB, measured 151.32 MiB (+0.0 %): parameters 9.99 MiB / 9.99 MiB (+0.0 %), …".
std::vector<MemoryClassBytes> memory_of(std::string_view text) {
  const std::vector<std::string> words = words_of(text.substr(0, text.find('(')));
  if (words.size() < 6) return {};
  const auto planned = size_in_bytes(words[1], words[2].substr(0, words[2].size() - 1));
  const auto measured = size_in_bytes(words[4], words[5]);
  if (!planned || !measured) return {};
  std::vector<MemoryClassBytes> out{{"total", *planned, *measured}};
  std::size_t at = text.find("): ");
  if (at == std::string_view::npos) return out;
  for (at += 3; at < text.size();) {
    const std::size_t end = std::min(text.size(), text.find(", ", at));
    if (const auto found = memory_class_of(text.substr(at, end - at))) out.push_back(*found);
    at = end + 2;
  }
  return out;
}

class LogReader {
 public:
  void take(std::string_view line) {
    line = line.substr(0, kLongestLine);
    const std::size_t length = time_length(line);
    const std::string_view time = line.substr(0, length == 0 ? 0 : length - 1);
    const std::string_view text = line.substr(length);
    if (length > 0 && log.begin.empty()) log.begin = time;
    if (length > 0) log.end = time;
    if (take_trouble(text, line)) return;
    if (length > 0 && !text.starts_with("Validation") && !take_sample(text)) take_text(text, line);
  }
  RunLog log;

 private:
  bool take_trouble(std::string_view text, std::string_view line) {
    const bool of_rank = text.starts_with("[rank ");
    const auto begins = [&](std::string_view word) {
      const std::size_t at = of_rank ? text.find("] ") : 0;
      return at != std::string_view::npos && text.substr(of_rank ? at + 2 : 0).starts_with(word);
    };
    if (begins("error: ") || text.starts_with("th_app: hang: ")) {
      log.error = text;
      return true;
    }
    if (!begins("warning: ")) return false;
    ++log.warning_count;
    keep(log.warnings, line, kMostWarnings);
    return true;
  }

  static void keep(std::vector<std::string>& lines, std::string_view line, std::size_t most) {
    if (lines.size() == most) lines.erase(lines.begin());
    lines.emplace_back(line);
  }

  void take_text(std::string_view text, std::string_view line) {
    constexpr std::string_view kMemory = "Memory of a rank: ";
    const auto after = [&](std::string_view begin, std::string& member) {
      if (text.starts_with(begin)) member = text.substr(begin.size());
    };
    after("Identity: ", log.identity);
    after("Parameters: ", log.parameters);
    after("Dataset: ", log.dataset);
    after("Vocabulary: ", log.vocabulary);
    after("Communication beside compute: ", log.overlap);
    if (text.starts_with("ZeRO stage ")) log.zero = text;
    if (text.starts_with("Stopping after ")) log.stopping = text;
    if (text.starts_with("The run gives ")) log.final_choice = text;
    if (text.starts_with("Trace of step")) keep(log.traces, text, kMostLines);
    if (text.starts_with(kMemory)) log.memory = memory_of(text.substr(kMemory.size()));
    if (text.starts_with("Step ") || text.starts_with("Epoch ")) log.error.clear();
    if (text.starts_with("Resumed ") || text.starts_with("A new run branches") ||
        text.starts_with("Parameters from ")) {
      keep(log.continuations, line, kMostLines);
      log.error.clear();
      log.stopping.clear();
    }
  }

  /// "Sample 1 source:     …" and the two lines behind it.
  bool take_sample(std::string_view text) {
    constexpr std::string_view kBegin = "Sample ";
    if (!text.starts_with(kBegin)) return false;
    const std::size_t blank = text.find(' ', kBegin.size());
    if (blank == std::string_view::npos) return false;
    const std::string_view number = text.substr(kBegin.size(), blank - kBegin.size());
    const std::size_t colon = text.find(':', blank);
    if (colon == std::string_view::npos) return false;
    const std::string_view side = text.substr(blank + 1, colon - blank - 1);
    const std::size_t begin = std::min(text.size(), text.find_first_not_of(' ', colon + 1));
    const std::string value(text.substr(begin));
    if (side == "source") {
      if (number == "1") log.samples.clear();
      if (log.samples.size() < kMostSamples) log.samples.push_back({value, "", ""});
      of_this_ = log.samples.size() == static_cast<std::size_t>(std::atoi(number.data()));
    } else if (of_this_ && !log.samples.empty()) {
      if (side == "reference") log.samples.back().reference = value;
      if (side == "hypothesis") log.samples.back().hypothesis = value;
    }
    return true;
  }

  bool of_this_ = false;  ///< the next lines belong to the last sample
};

}  // namespace

RunLog read_run_log(const std::string& path) {
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return {};
  LineStream lines(path);
  LogReader reader;
  for (std::string_view line; lines.next(line);) reader.take(line);
  return std::move(reader.log);
}

}  // namespace th::app
