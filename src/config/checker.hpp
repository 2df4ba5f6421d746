#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "config/checks.hpp"

namespace th::config {

using Keys = std::vector<std::string>;

/// Collects what is wrong with keys that stand together, and what has no effect.
class Checker {
 public:
  Checker(const Origins& origins, const std::string& file, const std::set<std::string>& unsure,
          std::vector<std::string>& problems, std::vector<std::string>& warnings)
      : origins_(origins), file_(file), unsure_(unsure), problems_(problems), warnings_(warnings) {}

  [[nodiscard]] bool given(const std::string& key) const {
    const auto found = origins_.find(key);
    return found != origins_.end() && found->second.given;
  }

  /// `keys`: the one to put right, then those that it disagrees with; the first that has a line
  /// tells it, also where that line sets it to nothing.
  void require(bool fine, const Keys& keys, const std::string& what) {
    const bool known = std::none_of(keys.begin(), keys.end(),
                                    [&](const std::string& key) { return unsure_.contains(key); });
    if (!fine && known) problems_.push_back(where(keys) + ": " + keys.front() + ": " + what);
  }
  void warn(bool doubtful, const Keys& keys, const std::string& what) {
    if (doubtful) warnings_.push_back(where(keys) + ": " + keys.front() + ": " + what);
  }
  void idle_if(bool idle, const Keys& keys, const std::string& why) {
    for (const std::string& key : keys) {
      if (idle && given(key))
        warnings_.push_back(origins_.at(key).where + ": " + key + " has no effect: " + why);
    }
  }

 private:
  [[nodiscard]] std::string where(const Keys& keys) const {
    const auto found = std::find_if(keys.begin(), keys.end(),
                                    [&](const std::string& key) { return origins_.contains(key); });
    return found == keys.end() ? file_ + ":1" : origins_.at(*found).where;
  }

  const Origins& origins_;
  const std::string& file_;
  const std::set<std::string>& unsure_;
  std::vector<std::string>& problems_;
  std::vector<std::string>& warnings_;
};

/// Whether an attention of the model has a window.
[[nodiscard]] inline bool any_window(const ModelSection& model) {
  return has_window(model.encoder_attention) || has_window(model.decoder_attention) ||
         has_window(model.cross_attention);
}

/// Whether a schedule falls to its least rate at a step that is known at its beginning.
[[nodiscard]] inline bool ends(ScheduleKind name) {
  return name == ScheduleKind::kCosine || name == ScheduleKind::kWarmupLinear ||
         name == ScheduleKind::kWsd;
}

/// Keys that were given and that this run does not look at: a warning each.
void find_idle(Checker& k, const RunConfig& c);

/// How documents are cut into chunks.
void check_summarization(Checker& k, const RunConfig& c);

}  // namespace th::config
