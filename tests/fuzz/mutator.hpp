#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace th::fuzz {

/// Changes inputs: bits, bytes, cuts, insertions, splices, repetitions, numbers at the ends of
/// their ranges, words of the format. The same seed gives the same changes.
class Mutator {
 public:
  Mutator(std::uint64_t seed, std::vector<std::string> words, std::size_t longest)
      : random_(seed), words_(std::move(words)), longest_(longest) {}

  /// One of the pool's inputs with one to eight changes; the pool is not empty.
  [[nodiscard]] std::string next(const std::vector<std::string>& pool);

 private:
  [[nodiscard]] std::size_t below(std::size_t count);
  /// A place and a length within the text, the length from 1 where there is room.
  struct Range {
    std::size_t at = 0, length = 0;
  };
  [[nodiscard]] Range range(const std::string& text);
  void change(std::string& text, const std::vector<std::string>& pool);
  void change_bytes(std::string& text, std::size_t kind);
  void change_ranges(std::string& text, std::size_t kind, const std::vector<std::string>& pool);
  void change_number(std::string& text);
  void change_binary_number(std::string& text);

  std::mt19937_64 random_;
  std::vector<std::string> words_;
  std::size_t longest_;
};

}  // namespace th::fuzz
