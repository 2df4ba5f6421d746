#include "data/epoch_order.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {

Permutation::Permutation(std::int64_t size, std::uint64_t key) noexcept
    : size_(static_cast<std::uint64_t>(size)) {
  const unsigned bits =
      std::max(2U, static_cast<unsigned>(std::bit_width(size_ > 0 ? size_ - 1 : 0)));
  low_bits_ = bits / 2;
  low_mask_ = (std::uint64_t{1} << low_bits_) - 1;
  high_mask_ = (std::uint64_t{1} << (bits - low_bits_)) - 1;
  for (std::uint64_t round = 0; round < kRounds; ++round) keys_[round] = hash_pair(key, round);
}

std::uint64_t Permutation::once(std::uint64_t value) const noexcept {
  std::uint64_t high = value >> low_bits_, low = value & low_mask_;
  for (int round = 0; round < kRounds; round += 2) {
    high ^= mix64(low ^ keys_[round]) & high_mask_;
    low ^= mix64(high ^ keys_[round + 1]) & low_mask_;
  }
  return high << low_bits_ | low;
}

std::int64_t Permutation::operator()(std::int64_t place) const noexcept {
  std::uint64_t value = static_cast<std::uint64_t>(place);
  do value = once(value);
  while (value >= size_);
  return static_cast<std::int64_t>(value);
}

EpochPairs::EpochPairs(std::vector<std::int64_t> file_pairs, const config::DataSection& data,
                       std::uint64_t seed)
    : size_(std::accumulate(file_pairs.begin(), file_pairs.end(), std::int64_t{0})) {
  constexpr std::uint64_t kStream = 0x6d697874;
  key_ = hash_pair(mix64(seed), kStream);
  const bool weighs = !data.train_weights.empty();
  if (file_pairs.size() < 2 || (!weighs && data.train_temperature == 1)) return;
  std::vector<double> wanted;
  for (std::size_t f = 0; f < file_pairs.size(); ++f) {
    const double pairs = static_cast<double>(file_pairs[f]);
    const double share =
        weighs ? data.train_weights[f] : std::pow(pairs, 1 / data.train_temperature);
    wanted.push_back(file_pairs[f] > 0 ? share : 0);
  }
  const double sum = std::accumulate(wanted.begin(), wanted.end(), 0.0);
  std::int64_t first = 0, given = 0;
  for (std::size_t f = 0; f < file_pairs.size(); ++f) {
    wanted[f] *= static_cast<double>(size_) / sum;
    const auto share = std::min(static_cast<std::int64_t>(wanted[f]), size_ - given);
    files_.push_back({first, file_pairs[f], share, 0});
    wanted[f] -= static_cast<double>(share);
    first += file_pairs[f];
    given += share;
  }
  // What rounding down left goes to the files that lost most by it.
  for (; given < size_; ++given) {
    const auto most = std::max_element(wanted.begin(), wanted.end());
    ++files_[static_cast<std::size_t>(most - wanted.begin())].share;
    *most -= 1;
  }
  std::int64_t begin = 0;
  for (File& file : files_) {
    file.begin = begin;
    begin += file.share;
  }
}

std::vector<std::int64_t> EpochPairs::shares() const {
  std::vector<std::int64_t> shares;
  for (const File& file : files_) shares.push_back(file.share);
  return shares;
}

std::int64_t EpochPairs::pair(std::int64_t epoch, std::int64_t place) const {
  if (files_.empty()) return place;
  // The last file that begins at the place or before: those without a share begin where the next
  // one does.
  const auto after =
      std::upper_bound(files_.begin(), files_.end(), place,
                       [](std::int64_t at, const File& file) { return at < file.begin; });
  ensure(after != files_.begin(), "EpochPairs: no such place");
  const File& file = *(after - 1);
  const std::int64_t taken = epoch * file.share + place - file.begin;
  const auto number = static_cast<std::uint64_t>(after - files_.begin());
  const auto pass = static_cast<std::uint64_t>(taken / file.pairs);
  const Permutation shuffle(file.pairs, hash_pair(hash_pair(key_, number), pass));
  return file.first + shuffle(taken % file.pairs);
}

}  // namespace th::data
