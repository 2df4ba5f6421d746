#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace th {

/// Finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words whose output bits
/// each depend on all input bits.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t z) noexcept {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Hash of an ordered pair of words; chains into longer keys: `hash_pair(hash_pair(a, b), c)`.
[[nodiscard]] constexpr std::uint64_t hash_pair(std::uint64_t a, std::uint64_t b) noexcept {
  return mix64(mix64(a) ^ (b + 0x9e3779b97f4a7c15ULL));
}

/// 64-bit FNV-1a over bytes, finished by mix64. Stable across machines: it goes into checkpoints.
[[nodiscard]] std::uint64_t hash_bytes(std::span<const std::byte> bytes,
                                       std::uint64_t seed = 0) noexcept;
[[nodiscard]] std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0) noexcept;

/// Another 64-bit hash, for large buffers: it takes some bytes a cycle, by the round of xxHash64 in
/// four lanes of 8-byte words. Each round is a bijection of its word, so a change within one word
/// always gives another hash. The value depends on the byte order, so it serves only for
/// comparisons within a run.
[[nodiscard]] std::uint64_t hash_words(std::span<const std::byte> bytes,
                                       std::uint64_t seed = 0) noexcept;

/// hash_text(text) of a text that comes in pieces.
class TextHash {
 public:
  void add(std::string_view piece) noexcept {
    for (const char c : piece) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return mix64(state_); }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL ^ mix64(0);
};

/// CRC-32C (Castagnoli, RFC 3720) of `bytes` appended to data whose CRC is `crc`. Uses SSE4.2 where
/// the processor has it.
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes,
                                   std::uint32_t crc = 0) noexcept;
/// The same value, computed a byte at a time on any processor.
[[nodiscard]] std::uint32_t crc32c_portable(std::span<const std::byte> bytes,
                                            std::uint32_t crc = 0) noexcept;

}  // namespace th
