#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/model/decoding/decoding.hpp"

namespace th::model {

/// What may follow what, by the options of a search: padding and begin never come, the end not
/// before min_length ids, no forbidden sequence, no n-gram twice.
class SearchRules {
 public:
  /// `options` is used until the rules' end.
  explicit SearchRules(const SearchOptions& options);
  [[nodiscard]] const SearchOptions& options() const noexcept { return options_; }
  /// The ids, of so many, that may not follow `ids`; they ascend. Where that would be all, or all
  /// of `candidates`, the end may come. `candidates`: ascending; empty: all ids.
  [[nodiscard]] std::vector<std::int32_t> barred_after(
      std::span<const std::int32_t> ids, std::int64_t vocabulary,
      std::span<const std::int32_t> candidates = {}) const;

 private:
  const SearchOptions& options_;
  std::vector<std::int32_t> always_;  ///< ascending
  bool more_ = false;                 ///< whether there are rules beside always_
};

}  // namespace th::model
