#pragma once

#include <memory>

#include "data/tokenizer/sentencepiece/segmenter.hpp"
#include "th/data/tokenizer/tokenizer.hpp"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace th::data {

/// A SentencePiece model, bpe or unigram. Its ids are mapped to ours: 0 to 3, then its other pieces
/// in their order; of a model that was trained here the map is the identity.
class SentencePieceTokenizer final : public Tokenizer {
 public:
  /// `name` stands in messages. Throws DataError where the bytes are no such model, and, with the
  /// ids, where its special symbols can't be mapped.
  SentencePieceTokenizer(std::string model, const std::string& name);
  ~SentencePieceTokenizer() override;

  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view line) const override;
  [[nodiscard]] std::vector<std::int32_t> sample(std::string_view line, double amount,
                                                 std::uint64_t key) const override;
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const override;
  [[nodiscard]] config::TokenizerKind kind() const noexcept override;
  [[nodiscard]] const std::vector<std::string>& tokens() const noexcept override { return tokens_; }
  [[nodiscard]] const std::string& model() const noexcept override { return bytes_; }

  /// The line as the model's pieces spell it: normalized, blanks as U+2581.
  [[nodiscard]] std::string normalized(std::string_view line) const;
  /// Our own segmentation of it; amount 0 gives encode(line).
  [[nodiscard]] std::vector<std::int32_t> segment(std::string_view line, double amount,
                                                  std::uint64_t key) const;
  /// Of each of our ids the model's; -1: it has no such symbol.
  [[nodiscard]] const std::vector<std::int32_t>& model_ids() const noexcept { return theirs_; }

 private:
  void map_ids(const std::string& name);
  std::string bytes_;
  PieceModel pieces_;
  std::unique_ptr<const sentencepiece::SentencePieceProcessor> processor_;
  std::unique_ptr<const Segmenter> segmenter_;
  std::vector<std::int32_t> ours_;    ///< by the model's id
  std::vector<std::int32_t> theirs_;  ///< by ours; -1: the model has no such symbol
  std::vector<std::string> tokens_;
};

}  // namespace th::data
