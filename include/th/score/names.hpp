#pragma once

#include <cstddef>
#include <utility>

#include "th/score/options.hpp"

namespace th::score {

// The values of the options as decks and command lines write them.
inline constexpr std::pair<const char*, BleuTokenizer> kBleuTokenizers[] = {
    {"13a", BleuTokenizer::k13a},
    {"none", BleuTokenizer::kNone},
    {"char", BleuTokenizer::kChar},
    {"zh", BleuTokenizer::kZh}};
inline constexpr std::pair<const char*, Smoothing> kSmoothings[] = {{"exp", Smoothing::kExp},
                                                                    {"floor", Smoothing::kFloor},
                                                                    {"add-k", Smoothing::kAddK},
                                                                    {"none", Smoothing::kNone}};
inline constexpr std::pair<const char*, RougeUnits> kRougeUnits[] = {
    {"words", RougeUnits::kWords}, {"characters", RougeUnits::kCharacters}};

/// The name of a value in a table.
template <typename Enum, std::size_t N>
[[nodiscard]] constexpr const char* name_in(const std::pair<const char*, Enum> (&table)[N],
                                            Enum value) {
  for (const auto& [name, known] : table)
    if (known == value) return name;
  return "";
}

}  // namespace th::score
