#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {

/// Ids of one sentence pair: source ids (end included), decoder inputs (= labels; begin or end
/// counted once).
struct SentenceLength {
  std::int32_t source = 0;
  std::int32_t target = 0;
};

/// An encoded corpus in a read-only mapped file, whose pages all ranks of a node share. Immutable:
/// safe to share among threads.
class ParallelCorpus {
 public:
  /// Lines of text, whose pairs stand at the same index, and what encodes them.
  struct Text {
    std::span<const std::string> source, target;
    const Tokenizer& source_tokenizer;
    const Tokenizer& target_tokenizer;
  };
  /// Encodes the text and writes the index. Returns the number of pairs of which a side was cut to
  /// `max_length` ids. Throws DataError when the file can't be written.
  static std::int64_t write_index(const std::filesystem::path& path, const Text& text,
                                  std::int64_t max_length, std::uint64_t hash);
  /// Maps an index. Throws DataError where it is missing or damaged. The file may be removed
  /// afterwards.
  explicit ParallelCorpus(const std::filesystem::path& path);
  ~ParallelCorpus();
  ParallelCorpus(const ParallelCorpus&) = delete;
  ParallelCorpus& operator=(const ParallelCorpus&) = delete;

  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// Hash of the bytes of both files, to compare across hosts.
  [[nodiscard]] std::uint64_t content_hash() const noexcept { return hash_; }
  /// Words, end.
  [[nodiscard]] std::span<const std::int32_t> source(std::int64_t sentence) const noexcept;
  /// Begin, words, end.
  [[nodiscard]] std::span<const std::int32_t> target(std::int64_t sentence) const noexcept;
  [[nodiscard]] std::vector<SentenceLength> lengths() const;

 private:
  void* map_ = nullptr;
  std::size_t bytes_ = 0;
  std::int64_t size_ = 0;
  std::uint64_t hash_ = 0;
  /// 2 * size_ + 1 offsets: source and target of a pair follow each other.
  const std::int64_t* offsets_ = nullptr;
  const std::int32_t* ids_ = nullptr;
};

/// How the ranks of one node share the encoded corpora. The defaults are for one rank.
struct SharedCache {
  /// A folder of this run alone, seen by all ranks of the node; made where it is missing.
  std::filesystem::path folder;
  bool writer = true;             ///< true on exactly one rank of the node
  std::function<void()> barrier;  ///< collective over the ranks of the node; empty: one rank
};

/// What the files of the deck hold. `valid` and `test` are null where the deck names none.
struct Dataset {
  /// The same object when tied.
  std::shared_ptr<const Tokenizer> source_tokenizer, target_tokenizer;
  std::shared_ptr<const ParallelCorpus> train, valid, test;
  std::vector<std::string> warnings;  ///< on every rank; for one rank to print
};

/// Reads, makes the tokenizers unless they are `given`, encodes. Collective over the node through
/// `cache.barrier`; the files of the cache are removed before it returns. Throws DataError on every
/// rank of the node when the writer meets one.
[[nodiscard]] Dataset open_dataset(const config::DataSection& data, bool joint_vocabulary,
                                   const SharedCache& cache, const TokenizerPair& given = {});

}  // namespace th::data
