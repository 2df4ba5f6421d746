#pragma once

#include "data/tokenizer/sentencepiece/segmenter.hpp"

namespace th::data {

/// A segmentation's probability is the product of its pieces' (Kudo 2018). Without an amount the
/// best one; with it, one drawn with probability proportional to its own to the power of the
/// amount, by filtering forward and sampling backward over the lattice of all segmentations.
class UnigramSegmenter final : public Segmenter {
 public:
  explicit UnigramSegmenter(const PieceModel& model);

 private:
  void split(std::string_view text, double amount, SegmentDraws& draws,
             std::vector<Span>& out) const override;
  /// An edge of the lattice: a piece, or an unknown character, from byte `begin` on.
  struct Edge {
    std::size_t begin = 0;
    std::int32_t id = 0;
    float score = 0;
  };
  /// The edges that end at each byte of the text, by where they begin.
  [[nodiscard]] std::vector<std::vector<Edge>> lattice(std::string_view text) const;
  float unknown_score_ = 0;
};

}  // namespace th::data
