#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "th/base/hash.hpp"

namespace th::data {

/// Counter-based draws: the k-th draw is a function of (seed, k) alone.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : key_(mix64(seed)) {}
  /// Uniform in [0, bound) up to a bias of bound / 2^32.
  std::int64_t below(std::int64_t bound) {
    const std::uint64_t high = hash_pair(key_, counter_++) >> 32;
    return static_cast<std::int64_t>((high * static_cast<std::uint64_t>(bound)) >> 32);
  }
  /// Uniform in [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
  template <class T, std::size_t N>
  const T& of(const std::array<T, N>& values) {
    return values[static_cast<std::size_t>(below(std::int64_t{N}))];
  }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace th::data
