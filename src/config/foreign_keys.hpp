#pragma once

#include <span>
#include <string>
#include <string_view>

namespace th::config {

/// A name without what writers set differently: capitals, hyphens, underscores, blanks.
[[nodiscard]] std::string plain_name(std::string_view text);

/// What stands here for names of other programs.
struct ForeignName {
  std::string_view here;
  std::string_view names;  ///< plain, with a blank before and behind each
};

/// Names of main.py, Hugging Face, fairseq, OpenNMT, Marian and DeepSpeed, without a section, and
/// their keys.
[[nodiscard]] std::span<const ForeignName> foreign_keys();
/// Options of launchers and other programs that are no keys, and what to do instead.
[[nodiscard]] std::span<const ForeignName> foreign_options();

/// What stands for a plain name in a table; empty: it is not there.
[[nodiscard]] std::string_view meaning_of(std::string_view plain,
                                          std::span<const ForeignName> table);

}  // namespace th::config
