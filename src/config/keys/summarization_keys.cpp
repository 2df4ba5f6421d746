#include "th/config/summarization.hpp"

#include "config/checker.hpp"
#include "config/key_table.hpp"
#include "th/config/metrics.hpp"

#include <algorithm>
#include <array>
#include <string_view>

// The keys of the deck's section [summarization], and what run.task = summarization changes.
namespace th::config {

namespace {

constexpr std::array<std::pair<const char*, const char*>, 3> kDefaults{
    {{"data.max_source_length", "400"},
     {"data.max_target_length", "100"},
     {"valid.metrics", "rouge"}}};

constexpr std::int64_t kLongest = 1 << 20;
constexpr const char* kAuto = "auto";

/// Whether a run translates or summarizes any text.
bool decodes(const RunConfig& c) {
  const bool tests = c.data.synthetic == Synthetic::kNone && !c.data.test_source.empty();
  return tests || (validates(c) && translates_in_validation(c));
}

std::string why_idle(const RunConfig& c) {
  if (c.run.task != Task::kSummarization) return "run.task is not summarization";
  return decodes(c) ? "" : "no text is summarized";
}

/// The key says how chunks are cut.
Key of_chunks(Key key) {
  key.idle = [](const RunConfig& c) {
    return c.summarization.hierarchical || c.run.task != Task::kSummarization
               ? why_idle(c)
               : "summarization.hierarchical is false";
  };
  return key;
}

Key overlap_key() {
  Key key{"summarization.overlap",
          "integer",
          kAuto,
          std::string(kAuto) + ", or from 0 to " + std::to_string(kLongest),
          "Number of source ids that a chunk shares with the one before, so that a sentence which "
          "one of them cuts is whole in the other. auto: a quarter of a chunk.",
          {},
          {},
          {}};
  key.set = [](RunConfig& c, const std::string& text) {
    std::int64_t value = -1;
    if (text != kAuto && (!parse_whole(text, value) || value < 0 || value > kLongest)) return false;
    c.summarization.overlap = value;
    return true;
  };
  key.get = [](const RunConfig& c) {
    return c.summarization.overlap < 0 ? kAuto : std::to_string(c.summarization.overlap);
  };
  return key;
}

}  // namespace

void add_summarization(std::vector<Key>& t) {
  Key hierarchical =
      boolean_key("summarization.hierarchical", TH_AT(summarization.hierarchical),
                  "Validation and the test set summarize a document above data.max_source_length "
                  "ids chunk by chunk, and then the joined summaries. false: only its beginning. "
                  "Training follows data.long_lines (docs/summarization.md).");
  hierarchical.idle = why_idle;
  t.push_back(hierarchical);
  t.push_back(of_chunks(integer_key(
      "summarization.chunk", TH_AT(summarization.chunk),
      Interval{.low = 2, .high = static_cast<double>(kLongest)}, "data.max_source_length",
      "Number of source ids in a chunk of a longer document, with its end.")));
  t.push_back(of_chunks(overlap_key()));
}

void check_summarization(Checker& k, const RunConfig& c) {
  const SummaryWindow window = summary_window(c);
  k.require(window.chunk <= window.length,
            {"summarization.chunk", "data.max_source_length", "data.max_length"},
            std::to_string(window.chunk) +
                " ids are more than the window of the source takes, "
                "data.max_source_length = " +
                std::to_string(window.length) + "; allowed up to that");
  k.require(window.overlap <= window.chunk - 2, {"summarization.overlap", "summarization.chunk"},
            std::to_string(window.overlap) + " is all of a chunk or more: of " +
                std::to_string(window.chunk) +
                " ids one is the end, and one must be new in each chunk; allowed up to " +
                std::to_string(window.chunk - 2));
  k.warn(summarizes_in_chunks(c) && validates(c) && c.data.long_lines == LongLines::kDrop,
         {"data.long_lines", "summarization.hierarchical"},
         "drop leaves documents above data.max_source_length out of validation too; cut keeps "
         "them, and they are summarized chunk by chunk");
}

SummaryWindow summary_window(const RunConfig& config) {
  const SummarizationSection& s = config.summarization;
  SummaryWindow window;
  window.length = config.data.source_length();
  window.chunk = s.chunk > 0 ? s.chunk : window.length;
  window.overlap = s.overlap >= 0 ? s.overlap : std::min(window.chunk / 4, window.chunk - 2);
  return window;
}

bool summarizes_in_chunks(const RunConfig& config) {
  return config.run.task == Task::kSummarization && config.summarization.hierarchical;
}

const char* default_of_summarization(const char* key) {
  for (const auto& [name, value] : kDefaults)
    if (std::string_view(name) == key) return value;
  return "";
}

void set_defaults_of_task(RunConfig& config, const Origins& origins) {
  if (config.run.task != Task::kSummarization) return;
  const auto given = [&](const char* key) {
    const auto found = origins.find(key);
    return found != origins.end() && found->second.given;
  };
  for (const auto& [name, value] : kDefaults) {
    const bool length = std::string_view(name).starts_with("data.");
    if (given(name) || (length && given("data.max_length"))) continue;
    find_key(name)->set(config, value);
  }
}

}  // namespace th::config
