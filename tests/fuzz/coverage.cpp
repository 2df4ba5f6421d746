#include "coverage.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace th::fuzz {
namespace {

constexpr std::size_t kCounts = 1 << 16;
// Written by every basic block of the readers.
alignas(64) std::array<std::uint8_t, kCounts> block_counts;

/// 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, and more: a bit each.
std::uint8_t class_of(std::uint8_t count) {
  if (count < 4) return static_cast<std::uint8_t>(1U << (count - 1U));
  const unsigned power = static_cast<unsigned>(std::bit_width(count));  // 3 to 8
  return static_cast<std::uint8_t>(1U << (power < 7 ? power : power - 1U));
}

}  // namespace

extern "C" __attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc() {
  // Places depend on the program alone, not on where it was loaded.
  const auto block = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)) -
                     reinterpret_cast<std::uintptr_t>(&__sanitizer_cov_trace_pc);
  std::uint8_t* const count = block_counts.data() + ((block ^ block >> 16U) & (kCounts - 1));
  if (*count < 255) ++*count;
}

void Coverage::begin() noexcept { block_counts.fill(0); }

bool Coverage::is_new() {
  bool found = false;
  for (std::size_t word = 0; word < kCounts; word += sizeof(std::uint64_t)) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, block_counts.data() + word, sizeof eight);
    if (eight == 0) continue;
    for (std::size_t place = word; place < word + sizeof eight; ++place) {
      if (block_counts[place] == 0) continue;
      const std::uint8_t bit = class_of(block_counts[place]);
      if ((seen_[place] & bit) != 0) continue;
      seen_[place] = static_cast<std::uint8_t>(seen_[place] | bit);
      ++size_;
      found = true;
    }
  }
  return found;
}

}  // namespace th::fuzz
