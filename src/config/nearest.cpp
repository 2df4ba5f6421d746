#include "config/nearest.hpp"

#include "config/foreign_keys.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

// What a mistyped key or value was probably meant to be.
namespace th::config {

namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

/// The words of a key in the order of the alphabet, so that head_num is near num_heads.
std::string sorted_words(const std::string& name) {
  std::vector<std::string> words(1);
  for (const char c : name) {
    if (c == '_' || c == '.')
      words.emplace_back();
    else
      words.back() += c;
  }
  std::sort(words.begin(), words.end());
  std::string out;
  for (const std::string& word : words) out += word + "_";
  return out;
}

/// How far `asked` is from the last words of a key, so that model.window is near
/// model.attention_window. A section that was not written costs nothing.
std::size_t distance_to_last_words(const std::string& asked, const std::string& key) {
  const auto dot = asked.find('.'), key_dot = key.find('.');
  const std::string name = dot == std::string::npos ? asked : asked.substr(dot + 1);
  const std::size_t section =
      dot == std::string::npos ? 0 : edit_distance(asked.substr(0, dot), key.substr(0, key_dot));
  std::size_t least = std::string::npos;
  for (auto at = key_dot; at != std::string::npos; at = key.find('_', at + 1))
    least = std::min(least, edit_distance(name, key.substr(at + 1)));
  return 1 + section + least;
}

/// Names of other programs (PyTorch, Hugging Face, fairseq, Marian, DeepSpeed), plain, and what
/// they are here.
constexpr std::array<std::pair<std::string_view, std::string_view>, 49> kOtherNames{
    {{"yes", "true"},
     {"on", "true"},
     {"1", "true"},
     {"enabled", "true"},
     {"no", "false"},
     {"off", "false"},
     {"0", "false"},
     {"disabled", "false"},
     {"none", "false"},
     {"silu", "swish"},
     {"swiglumlp", "swiglu"},
     {"gelunew", "gelu"},
     {"gelupytorchtanh", "gelu"},
     {"rmsnorm", "rms"},
     {"t5norm", "rms"},
     {"layernorm", "layer"},
     {"prenorm", "pre"},
     {"postnorm", "post"},
     {"rotary", "rope"},
     {"rotaryembedding", "rope"},
     {"sine", "sinusoidal"},
     {"sinusoid", "sinusoidal"},
     {"absolute", "learned"},
     {"learnable", "learned"},
     {"trained", "learned"},
     {"slidingwindow", "local"},
     {"sliding", "local"},
     {"window", "local"},
     {"windowed", "local"},
     {"global", "full"},
     {"dynamic", "ntk"},
     {"neox", "halves"},
     {"gptj", "interleaved"},
     {"float", "fp32"},
     {"float32", "fp32"},
     {"bfloat16", "bf16"},
     {"float16", "fp16"},
     {"half", "fp16"},
     {"gpu", "cuda"},
     {"momentum", "sgd"},
     {"invsqrt", "inverse_sqrt"},
     {"inversesquareroot", "inverse_sqrt"},
     {"linear", "warmup_linear"},
     {"warmuplr", "warmup_constant"},
     {"warmupdecaylr", "warmup_linear"},
     {"warmupcosinelr", "cosine"},
     {"warmupstabledecay", "wsd"},
     {"sentencepiece", "unigram"},
     {"moonshot", "match_rms_adamw"}}};

std::string section_part(const std::string& key) { return key.substr(0, key.find('.')); }

std::vector<std::string> values_of(const Key& key) {
  std::vector<std::string> out;
  std::istringstream in(key.allowed);
  for (std::string value; std::getline(in >> std::ws, value, ',');) out.push_back(value);
  return out;
}

}  // namespace

std::string nearest_key(const std::string& name) {
  // No key is near that long; a line of a wrong file may be any length.
  constexpr std::size_t kCompared = 80;
  constexpr std::size_t kMistyped = 2;  // letters
  std::string nearest;
  std::size_t least = std::string::npos;
  const std::string asked = name.substr(0, kCompared);
  for (const Key& key : keys()) {
    const std::size_t distance =
        std::min({edit_distance(asked, key.name),
                  1 + edit_distance(sorted_words(asked), sorted_words(key.name)),
                  distance_to_last_words(asked, key.name)});
    if (distance >= least) continue;
    least = distance;
    nearest = key.name;
  }
  if (least <= kMistyped) return nearest;
  // What it means is nearer than how it is spelled.
  const auto dot = asked.find('.');
  const std::vector<std::string> meant =
      keys_meant(dot == std::string::npos ? asked : asked.substr(dot + 1));
  if (meant.empty()) return nearest;
  const std::string section = asked.substr(0, dot == std::string::npos ? 0 : dot);
  return *std::min_element(meant.begin(), meant.end(), [&](const auto& a, const auto& b) {
    return edit_distance(section, section_part(a)) < edit_distance(section, section_part(b));
  });
}

std::vector<std::string> keys_meant(const std::string& name) {
  constexpr std::size_t kLongest = 40, kShortMistyped = 6;
  const std::string asked = plain_name(name);
  if (asked.empty() || asked.size() > kLongest) return {};
  if (const std::string_view key = meaning_of(asked, foreign_keys()); !key.empty())
    return {std::string(key)};
  std::vector<std::string> meant;
  std::size_t least = asked.size() < kShortMistyped ? 1 : 2;
  if (asked.size() < 4) least = 0;
  for (const Key& key : keys()) {
    const std::size_t distance =
        edit_distance(asked, plain_name(std::string_view(key.name).substr(key.name.find('.') + 1)));
    if (distance > least) continue;
    if (distance < least) meant.clear();
    least = distance;
    meant.push_back(key.name);
  }
  return meant;
}

std::string nearest_word(const std::string& text, const std::vector<std::string>& words) {
  std::string nearest;
  std::size_t least = std::min<std::size_t>(3, text.size() / 2);
  for (const std::string& word : words) {
    const std::size_t distance = edit_distance(text, word);
    if (distance >= least) continue;
    least = distance;
    nearest = word;
  }
  return nearest;
}

std::string nearest_value(const Key& key, const std::string& text) {
  constexpr std::size_t kLongest = 40;
  if ((key.type != "choice" && key.type != "boolean") || text.empty() || text.size() > kLongest)
    return "";
  const std::vector<std::string> values = values_of(key);
  const std::string asked = plain_name(text);
  const auto named = [&](const std::string& name) {
    return std::find_if(values.begin(), values.end(), [&](const std::string& value) {
      return plain_name(value) == plain_name(name);
    });
  };
  if (const auto same = named(asked); same != values.end()) return *same;
  for (const auto& [other, here] : kOtherNames) {
    if (other != asked) continue;
    if (const auto known = named(std::string(here)); known != values.end()) return *known;
  }
  std::string nearest;
  std::size_t least = std::max<std::size_t>(2, asked.size() / 2);  // one or two letters, below half
  least = std::min<std::size_t>(least, 3);
  for (const std::string& value : values) {
    const std::size_t distance = edit_distance(asked, plain_name(value));
    if (distance >= least) continue;
    least = distance;
    nearest = value;
  }
  return nearest;
}

}  // namespace th::config
