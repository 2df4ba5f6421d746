#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/sentencepiece/piece_model.hpp"

namespace th::data {

/// Numbers in [0, 1), each a hash of the key and its place in the row.
class SegmentDraws {
 public:
  explicit SegmentDraws(std::uint64_t key) : key_(key) {}
  [[nodiscard]] double next() noexcept;

 private:
  std::uint64_t key_, place_ = 0;
};

/// A string's number, with the strings that begin others: a walk along a text ends where no entry
/// goes on. Of the strings it holds views.
class PrefixMap {
 public:
  static constexpr std::int32_t kNone = -1, kPrefix = -2;
  /// `text` must outlive the map.
  void add(std::string_view text, std::int32_t value);
  /// The value of `text`; kPrefix where it only begins an entry, kNone where it does not.
  [[nodiscard]] std::int32_t find(std::string_view text) const;
  [[nodiscard]] bool empty() const noexcept { return values_.empty(); }

 private:
  std::unordered_map<std::string_view, std::int32_t> values_;
};

/// A model's own segmentation of a normalized text, and random ones of the same pieces.
/// SentencePiece draws its from a generator of the thread, which can't be seeded for a line.
/// Immutable.
class Segmenter {
 public:
  virtual ~Segmenter() = default;
  /// Bpe or unigram, as the model is. It must outlive the segmenter.
  [[nodiscard]] static std::unique_ptr<const Segmenter> make(const PieceModel& model);

  /// Ids of the model. `amount` 0: what SentencePiece's encode gives; above, data.subword_sampling.
  [[nodiscard]] std::vector<std::int32_t> segment(std::string_view text, double amount,
                                                  SegmentDraws draws) const;

 protected:
  /// Part of a text that no user-defined symbol is in, to pieces: views of it, one after another.
  struct Span {
    std::string_view text;
    std::int32_t id = 0;  ///< the unknown piece's where no piece is the text
  };
  explicit Segmenter(const PieceModel& model);
  virtual void split(std::string_view text, double amount, SegmentDraws& draws,
                     std::vector<Span>& out) const = 0;
  [[nodiscard]] const PieceModel& model() const noexcept { return model_; }
  [[nodiscard]] const PrefixMap& pieces() const noexcept { return pieces_; }
  [[nodiscard]] std::int32_t unknown() const noexcept { return unknown_; }

 private:
  [[nodiscard]] std::size_t symbol_at(std::string_view text) const;
  void append(const Span& span, bool& after_unknown, std::vector<std::int32_t>& ids) const;

  const PieceModel& model_;
  PrefixMap pieces_;   ///< normal and unused pieces, by id
  PrefixMap symbols_;  ///< user-defined ones
  std::int32_t unknown_ = 0;
  std::vector<std::int32_t> bytes_;  ///< the 256 byte pieces' ids; empty without byte fall-back
};

/// Bytes of the first character of a text in UTF-8, at most the text's own.
[[nodiscard]] std::size_t character_bytes(std::string_view text) noexcept;

}  // namespace th::data
