#pragma once

#include "data/tokenizer/sentencepiece/segmenter.hpp"

namespace th::data {

/// Byte pair encoding (Sennrich et al. 2016): of all neighbours that make a piece together, those
/// of the best score are merged, the leftmost first. With an amount above 0, a merge whose turn it
/// is is left out with that probability (BPE-dropout, Provilkov et al. 2020).
class BpeSegmenter final : public Segmenter {
 public:
  explicit BpeSegmenter(const PieceModel& model) : Segmenter(model) {}

 private:
  void split(std::string_view text, double amount, SegmentDraws& draws,
             std::vector<Span>& out) const override;
};

}  // namespace th::data
