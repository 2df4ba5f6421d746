#include "th/base/hash.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

// CRC-32C as a table for each byte, or by the processor's instruction on three streams at once: the
// instruction takes three cycles and a new one starts each cycle. The streams' sums are joined by
// the operator that appends zero bytes, as in zlib's crc32_combine.
namespace th {

namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78U;  // reflected
constexpr std::size_t kStream = 4096;               // bytes of one of three streams

constexpr std::array<std::uint32_t, 256> make_byte_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1U) != 0U ? (c >> 1) ^ kPolynomial : c >> 1;
    table[i] = c;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kByteTable = make_byte_table();

std::uint32_t crc_portable(const unsigned char* p, std::size_t n, std::uint32_t c) noexcept {
  for (std::size_t i = 0; i < n; ++i) c = (c >> 8) ^ kByteTable[(c ^ p[i]) & 0xffU];
  return c;
}

#if defined(__x86_64__)
using Matrix = std::array<std::uint32_t, 32>;  // over GF(2): the image of each bit

constexpr std::uint32_t times(const Matrix& m, std::uint32_t v) {
  std::uint32_t sum = 0;
  for (std::size_t bit = 0; bit < 32; ++bit) {
    if ((v >> bit & 1U) != 0U) sum ^= m[bit];
  }
  return sum;
}

/// table[k][b]: what the byte b at place k of a CRC becomes when kStream zero bytes follow.
constexpr std::array<std::array<std::uint32_t, 256>, 4> make_shift_tables() {
  Matrix shift{};  // one zero bit
  shift[0] = kPolynomial;
  for (std::size_t bit = 1; bit < 32; ++bit) shift[bit] = 1U << (bit - 1);
  for (std::size_t bits = 1; bits < 8 * kStream; bits *= 2) {
    Matrix squared{};
    for (std::size_t bit = 0; bit < 32; ++bit) squared[bit] = times(shift, shift[bit]);
    shift = squared;
  }
  std::array<std::array<std::uint32_t, 256>, 4> tables{};
  for (std::size_t place = 0; place < 4; ++place) {
    for (std::uint32_t byte = 0; byte < 256; ++byte)
      tables[place][byte] = times(shift, byte << (8 * place));
  }
  return tables;
}

constexpr std::array<std::array<std::uint32_t, 256>, 4> kShift = make_shift_tables();

std::uint32_t after_stream(std::uint64_t c) noexcept {
  return kShift[0][c & 0xffU] ^ kShift[1][c >> 8 & 0xffU] ^ kShift[2][c >> 16 & 0xffU] ^
         kShift[3][c >> 24 & 0xffU];
}

std::uint64_t word_at(const unsigned char* p) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, p, 8);
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t crc_sse42(const unsigned char* p, std::size_t n,
                                                          std::uint32_t c) noexcept {
  std::uint64_t first = c;
  for (; n >= 3 * kStream; n -= 3 * kStream, p += 3 * kStream) {
    std::uint64_t second = 0, third = 0;
    for (std::size_t i = 0; i < kStream; i += 8) {
      first = _mm_crc32_u64(first, word_at(p + i));
      second = _mm_crc32_u64(second, word_at(p + kStream + i));
      third = _mm_crc32_u64(third, word_at(p + 2 * kStream + i));
    }
    first = after_stream(after_stream(first) ^ second) ^ third;
  }
  for (; n >= 8; n -= 8, p += 8) first = _mm_crc32_u64(first, word_at(p));
  c = static_cast<std::uint32_t>(first);
  for (; n > 0; --n, ++p) c = _mm_crc32_u8(c, *p);
  return c;
}
#endif

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return ~crc_sse42(p, bytes.size(), ~crc);
#endif
  return crc32c_portable(bytes, crc);
}

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
  return ~crc_portable(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), ~crc);
}

}  // namespace th
