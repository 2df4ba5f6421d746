#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace th::io {

/// An entry of a flat YAML mapping: a scalar, or a list of scalars, as text.
struct YamlEntry {
  std::string key;
  std::vector<std::string> values;  ///< one value if it is no list
  bool list = false;
  int line = 0;  ///< of the key, from 1
};

/// The entries, in order, of a mapping such as Marian's vocabularies and configurations. Keys and
/// values are plain or quoted scalars; a value may also be a list of scalars, by lines or in
/// brackets. Plain scalars remain text, also 12, no and ~. Throws DataError `name:line: …` for
/// anything else.
[[nodiscard]] std::vector<YamlEntry> read_yaml_map(std::string_view text, const std::string& name);

}  // namespace th::io
