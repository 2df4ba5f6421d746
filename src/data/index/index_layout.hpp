#pragma once

#include <array>
#include <cstdint>

// The layout of an index that its writer and its reader share (docs/corpora.md).
namespace th::data {

inline constexpr std::array<char, 8> kIndexMagic = {'T', 'H', 'I', 'N', 'D', 'E', 'X', '2'};

/// The first bytes of the file; the tables are JSON and lie at its end.
struct IndexHeader {
  std::array<char, 8> magic = kIndexMagic;
  std::uint64_t tables_offset = 0, tables_bytes = 0;
  std::uint32_t tables_crc = 0;
  std::uint32_t reserved = 0;
};

/// Sections begin at multiples of it.
inline constexpr std::uint64_t kSectionAlignment = 64;
/// Pairs whose place is found by adding lengths: each such block has one start.
inline constexpr std::int64_t kBlockPairs = 64;

}  // namespace th::data
