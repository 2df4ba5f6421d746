#include "data/tokenizer/sentencepiece/unigram_segmenter.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace th::data {
namespace {

/// mantissa * 2^power: probabilities of long texts are below a double's range.
struct Scaled {
  double mantissa = 0;
  int power = 0;

  void add(double value, int its_power) {
    if (value == 0) return;
    if (mantissa == 0) {
      mantissa = value, power = its_power;
    } else if (power >= its_power) {
      mantissa += std::ldexp(value, its_power - power);
    } else {
      mantissa = value + std::ldexp(mantissa, power - its_power);
      power = its_power;
    }
    int more = 0;
    mantissa = std::frexp(mantissa, &more);
    power += more;
  }
};

}  // namespace

UnigramSegmenter::UnigramSegmenter(const PieceModel& model) : Segmenter(model) {
  // As SentencePiece has it: an unknown character is worse than any piece.
  constexpr float kUnknownPenalty = 10.0F;
  float least = std::numeric_limits<float>::max();
  for (const PieceModel::Piece& piece : model.pieces)
    if (piece.type == PieceModel::Type::kNormal) least = std::min(least, piece.score);
  unknown_score_ = least - kUnknownPenalty;
}

std::vector<std::vector<UnigramSegmenter::Edge>> UnigramSegmenter::lattice(
    std::string_view text) const {
  std::vector<std::vector<Edge>> ends(text.size() + 1);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::string_view rest = text.substr(begin);
    const std::size_t character = character_bytes(rest);
    bool known = false;
    for (std::size_t size = 1; size <= rest.size(); ++size) {
      const std::int32_t id = pieces().find(rest.substr(0, size));
      if (id == PrefixMap::kNone) break;
      if (id < 0) continue;
      const PieceModel::Piece& piece = model().pieces[static_cast<std::size_t>(id)];
      if (piece.type == PieceModel::Type::kUnused) continue;
      ends[begin + size].push_back({begin, id, piece.score});
      known = known || size == character;
    }
    if (!known) ends[begin + character].push_back({begin, unknown(), unknown_score_});
    begin += character;
  }
  return ends;
}

void UnigramSegmenter::split(std::string_view text, double amount, SegmentDraws& draws,
                             std::vector<Span>& out) const {
  const std::vector<std::vector<Edge>> ends = lattice(text);
  std::vector<const Edge*> path;  // from the end
  if (amount <= 0) {
    std::vector<float> best(text.size() + 1, 0);
    std::vector<const Edge*> chosen(text.size() + 1, nullptr);
    for (std::size_t end = 1; end <= text.size(); ++end) {
      for (const Edge& edge : ends[end]) {
        const float score = edge.score + best[edge.begin];
        if (chosen[end] != nullptr && score <= best[end]) continue;
        best[end] = score;
        chosen[end] = &edge;
      }
    }
    for (std::size_t end = text.size(); end > 0; end = path.back()->begin)
      path.push_back(chosen[end]);
  } else {
    std::vector<Scaled> sums(text.size() + 1);
    sums[0].add(1, 0);
    const auto weight = [&](const Edge& edge) { return std::exp(amount * double{edge.score}); };
    for (std::size_t end = 1; end <= text.size(); ++end) {
      for (const Edge& edge : ends[end])
        sums[end].add(weight(edge) * sums[edge.begin].mantissa, sums[edge.begin].power);
    }
    for (std::size_t end = text.size(); end > 0; end = path.back()->begin) {
      double left = draws.next() * sums[end].mantissa;
      const Edge* taken = nullptr;
      for (const Edge& edge : ends[end]) {
        const double share = std::ldexp(weight(edge) * sums[edge.begin].mantissa,
                                        sums[edge.begin].power - sums[end].power);
        if (share == 0) continue;
        taken = &edge;
        if ((left -= share) < 0) break;
      }
      // Where scores are so low that no path has a probability above 0, any will do.
      path.push_back(taken != nullptr ? taken : &ends[end].back());
    }
  }
  for (auto edge = path.rbegin(); edge != path.rend(); ++edge) {
    const std::size_t end =
        std::next(edge) == path.rend() ? text.size() : (*std::next(edge))->begin;
    out.push_back({text.substr((*edge)->begin, end - (*edge)->begin), (*edge)->id});
  }
}

}  // namespace th::data
