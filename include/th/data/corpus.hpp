#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "th/data/index/index_file.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {

/// Ids of one sentence pair: source ids (end included), decoder inputs (= labels; begin or end
/// counted once).
struct SentenceLength {
  std::int32_t source = 0;
  std::int32_t target = 0;
};

/// The lengths of all pairs, where they lie: a view, which lives no longer than they do.
class Lengths {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor)
  Lengths(const std::vector<SentenceLength>& lengths) noexcept
      : data_(lengths.data()), size_(std::ssize(lengths)) {}
  enum class Width { kNarrow, kWide };
  /// `data`: two numbers a pair, of the source and the target, of 16 bits or of 32.
  Lengths(const void* data, std::int64_t size, Width width) noexcept
      : data_(data), size_(size), narrow_(width == Width::kNarrow) {}

  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] SentenceLength operator[](std::int64_t pair) const noexcept {
    if (!narrow_) return static_cast<const SentenceLength*>(data_)[pair];
    const std::uint16_t* at = static_cast<const std::uint16_t*>(data_) + 2 * pair;
    return {at[0], at[1]};
  }

 private:
  const void* data_;
  std::int64_t size_;
  bool narrow_ = false;
};

/// An encoded part of a corpus in an index. Immutable: safe to share among threads. What it reads
/// from the file is checked, so that a damaged file is a DataError and nothing else.
class ParallelCorpus {
 public:
  /// Throws DataError where the index has no such part, or its sections do not fit together.
  ParallelCorpus(std::shared_ptr<const IndexFile> index, std::string part);

  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  [[nodiscard]] const PartInfo& info() const { return index_->info(part_); }
  /// Hash of the unpacked bytes of both sides, to compare across hosts and runs.
  [[nodiscard]] std::uint64_t content_hash() const { return info().hash; }
  /// Words, end.
  [[nodiscard]] std::span<const std::int32_t> source(std::int64_t sentence) const;
  /// Begin, words, end.
  [[nodiscard]] std::span<const std::int32_t> target(std::int64_t sentence) const;
  [[nodiscard]] Lengths length_view() const noexcept { return {lengths_, size_, width_}; }
  [[nodiscard]] std::vector<SentenceLength> lengths() const;
  /// Throws DataError where an id of these is none of the vocabulary.
  void require_ids(std::span<const std::int32_t> source,
                   std::span<const std::int32_t> target) const;

  /// Whether the lines of the pairs are there beside their ids.
  [[nodiscard]] bool has_text() const noexcept { return text_lengths_ != nullptr; }
  [[nodiscard]] std::string_view source_text(std::int64_t sentence) const;
  [[nodiscard]] std::string_view target_text(std::int64_t sentence) const;

  /// Of validation and test: pairs of lines of the files, those that were dropped too.
  [[nodiscard]] std::int64_t lines() const { return info().counts.lines; }
  /// Of validation and test: the line, from 0, that a pair was read from.
  [[nodiscard]] std::int64_t line_of(std::int64_t sentence) const;
  /// Of validation and test: all lines, as they were read.
  [[nodiscard]] std::vector<std::string> source_lines() const;
  [[nodiscard]] std::vector<std::string> target_lines() const;

  /// Gives the memory back that pages of a large corpus take in this process; they are read again
  /// where they are needed.
  void forget_pages() const noexcept;

 private:
  struct Place {
    std::int64_t begin = 0;
    SentenceLength length;
  };
  [[nodiscard]] Place place_of(std::int64_t sentence) const;
  [[nodiscard]] std::pair<std::string_view, std::string_view> text_of(std::int64_t sentence) const;
  [[nodiscard]] std::vector<std::string> lines_of(const char* section) const;

  std::shared_ptr<const IndexFile> index_;
  std::string part_;
  std::int64_t size_ = 0, ids_count_ = 0, source_vocabulary_ = 0, target_vocabulary_ = 0;
  Lengths::Width width_ = Lengths::Width::kWide;
  const std::int32_t* ids_ = nullptr;
  const void* lengths_ = nullptr;
  const std::int64_t* starts_ = nullptr;
  std::string_view text_;
  const std::uint32_t* text_lengths_ = nullptr;
  const std::uint64_t* text_starts_ = nullptr;
  std::span<const std::int64_t> line_of_;
};

/// What training batches are made of: a corpus, and with data.subword_sampling what segments its
/// text anew.
struct TrainingPairs {
  // NOLINTNEXTLINE(google-explicit-constructor)
  TrainingPairs(std::shared_ptr<const ParallelCorpus> pairs, TokenizerPair both = {})
      : corpus(std::move(pairs)), tokenizers(std::move(both)) {}
  std::shared_ptr<const ParallelCorpus> corpus;
  TokenizerPair tokenizers;
};

/// A text for each line of a validation or test set from one for each of its pairs: "" for lines
/// that no pair was made of.
[[nodiscard]] std::vector<std::string> by_line(const ParallelCorpus& corpus,
                                               const std::vector<std::string>& texts);

}  // namespace th::data
