#include "th/base/hash.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace th {

std::uint64_t hash_bytes(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  std::uint64_t h = 0xcbf29ce484222325ULL ^ mix64(seed);
  for (const std::byte b : bytes) h = (h ^ static_cast<std::uint64_t>(b)) * 0x100000001b3ULL;
  return mix64(h);
}

std::uint64_t hash_words(std::span<const std::byte> bytes, std::uint64_t seed) noexcept {
  constexpr std::size_t kLanes = 4, kWord = sizeof(std::uint64_t), kRow = kLanes * kWord;
  constexpr std::uint64_t kOfWord = 0xc2b2ae3d27d4eb4fULL, kOfLane = 0x9e3779b185ebca87ULL;
  std::array<std::uint64_t, kLanes> lanes{mix64(seed), mix64(seed + 1), mix64(seed + 2),
                                          mix64(seed + 3)};
  const std::size_t rows = bytes.size() / kRow;
  for (std::size_t row = 0; row < rows; ++row) {
    std::array<std::uint64_t, kLanes> words;
    std::memcpy(words.data(), bytes.data() + row * kRow, kRow);
    for (std::size_t l = 0; l < kLanes; ++l)
      lanes[l] = std::rotl(lanes[l] + words[l] * kOfWord, 31) * kOfLane;
  }
  std::uint64_t hash = hash_bytes(bytes.subspan(rows * kRow), bytes.size());
  for (const std::uint64_t lane : lanes) hash = hash_pair(hash, lane);
  return hash;
}

std::uint64_t hash_text(std::string_view text, std::uint64_t seed) noexcept {
  return hash_bytes(std::as_bytes(std::span(text.data(), text.size())), seed);
}

}  // namespace th
