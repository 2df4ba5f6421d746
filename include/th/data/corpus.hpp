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

/// Lengths of one sentence pair: source ids with the end, and decoder inputs (as many as labels).
struct SentenceLength {
  std::int32_t source = 0;
  std::int32_t target = 0;
};

/// A view of the lengths of all pairs; they must outlive it.
class Lengths {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor)
  Lengths(const std::vector<SentenceLength>& lengths) noexcept
      : data_(lengths.data()), size_(std::ssize(lengths)) {}
  enum class Width { kNarrow, kWide };
  /// `data` has two numbers for each pair, source and target, of 16 or 32 bits.
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

/// An encoded part of a corpus in an index. It is immutable, so threads may share it. Everything it
/// reads from the file is checked: a damaged file gives a DataError and nothing else.
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
  /// Throws DataError if one of these ids is outside its vocabulary.
  void require_ids(std::span<const std::int32_t> source,
                   std::span<const std::int32_t> target) const;

  /// Whether the part has the lines of the pairs beside their ids.
  [[nodiscard]] bool has_text() const noexcept { return text_lengths_ != nullptr; }
  [[nodiscard]] std::string_view source_text(std::int64_t sentence) const;
  [[nodiscard]] std::string_view target_text(std::int64_t sentence) const;

  /// For validation and test: the number of pairs of lines in the files, dropped ones included.
  [[nodiscard]] std::int64_t lines() const { return info().counts.lines; }
  /// For validation and test: the line, from 0, from which a pair was read.
  [[nodiscard]] std::int64_t line_of(std::int64_t sentence) const;
  /// For validation and test: all lines, as they were read.
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

/// What training batches are made from: a corpus, and with data.subword_sampling the tokenizers
/// that segment its text anew.
struct TrainingPairs {
  // NOLINTNEXTLINE(google-explicit-constructor)
  TrainingPairs(std::shared_ptr<const ParallelCorpus> pairs, TokenizerPair both = {})
      : corpus(std::move(pairs)), tokenizers(std::move(both)) {}
  std::shared_ptr<const ParallelCorpus> corpus;
  TokenizerPair tokenizers;
};

/// Turns a text for each pair of a validation or test set into one for each of its lines: "" for
/// lines of which no pair was made.
[[nodiscard]] std::vector<std::string> by_line(const ParallelCorpus& corpus,
                                               const std::vector<std::string>& texts);

}  // namespace th::data
