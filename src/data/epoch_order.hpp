#pragma once

#include <cstdint>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::data {

/// A random permutation of [0, size) that is computed place by place, in no memory: a Feistel
/// network (Luby, Rackoff 1988) over the next power of two, walked until it is within (Black,
/// Rogaway 2002).
class Permutation {
 public:
  Permutation(std::int64_t size, std::uint64_t key) noexcept;
  [[nodiscard]] std::int64_t operator()(std::int64_t place) const noexcept;

 private:
  static constexpr int kRounds = 6;
  [[nodiscard]] std::uint64_t once(std::uint64_t value) const noexcept;
  std::uint64_t size_, low_mask_, high_mask_;
  unsigned low_bits_;
  std::uint64_t keys_[kRounds];
};

/// Which pairs an epoch has. Without weights and temperature each pair of the corpus once. With
/// them, as many pairs as the corpus has: file f gives its share of them, by data.train_weights or
/// by n_f^(1 / T), and takes them from its own endless sequence of shuffles, in each of which every
/// pair of the file stands once; an epoch goes on where the one before ended.
class EpochPairs {
 public:
  /// `file_pairs`: pairs of each file; the corpus has them one file after the other.
  EpochPairs(std::vector<std::int64_t> file_pairs, const config::DataSection& data,
             std::uint64_t seed);
  /// Pairs of an epoch: those of the corpus.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// The pair at a place of [0, size()); all places of a file follow each other.
  [[nodiscard]] std::int64_t pair(std::int64_t epoch, std::int64_t place) const;
  /// Pairs that each file gives to an epoch.
  [[nodiscard]] std::vector<std::int64_t> shares() const;
  /// Whether the shares are by weights or temperature.
  [[nodiscard]] bool mixed() const noexcept { return !files_.empty(); }

 private:
  struct File {
    std::int64_t first = 0;  ///< pair of the corpus
    std::int64_t pairs = 0, share = 0;
    std::int64_t begin = 0;  ///< place of the epoch
  };
  std::vector<File> files_;  ///< empty: each pair once
  std::int64_t size_ = 0;
  std::uint64_t key_;
};

}  // namespace th::data
