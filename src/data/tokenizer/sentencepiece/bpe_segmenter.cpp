#include "data/tokenizer/sentencepiece/bpe_segmenter.hpp"

#include <map>
#include <queue>
#include <utility>

namespace th::data {
namespace {

/// A part of the text and its neighbours by index, -1: none. Empty: merged into its left one.
struct Symbol {
  std::string_view text;
  std::int32_t left = -1, right = -1;
};

/// Two neighbours that make a piece of so many bytes together.
struct Merge {
  float score = 0;
  std::int32_t left = 0, right = 0;
  std::size_t bytes = 0;
  /// Whether the other one's turn is before.
  friend bool operator<(const Merge& a, const Merge& b) {
    return a.score != b.score ? a.score < b.score : a.left > b.left;
  }
};

}  // namespace

void BpeSegmenter::split(std::string_view text, double amount, SegmentDraws& draws,
                         std::vector<Span>& out) const {
  std::vector<Symbol> symbols;
  for (std::string_view rest = text; !rest.empty();) {
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({rest.substr(0, character_bytes(rest)), index - 1, index + 1});
    rest.remove_prefix(symbols.back().text.size());
  }
  symbols.back().right = -1;
  const auto at = [&](std::int32_t index) -> Symbol& {
    return symbols[static_cast<std::size_t>(index)];
  };
  std::priority_queue<Merge> merges;
  // What an unused piece was merged from: it is only a step towards larger ones.
  std::map<std::string_view, std::pair<std::string_view, std::string_view>> parts;
  const auto offer = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0) return;
    const std::string_view a = at(left).text, b = at(right).text;
    const std::string_view both(a.data(), a.size() + b.size());
    const std::int32_t id = pieces().find(both);
    if (id < 0) return;
    const PieceModel::Piece& piece = model().pieces[static_cast<std::size_t>(id)];
    merges.push({piece.score, left, right, both.size()});
    if (piece.type == PieceModel::Type::kUnused) parts[both] = {a, b};
  };
  for (std::int32_t i = 1; i < static_cast<std::int32_t>(symbols.size()); ++i) offer(i - 1, i);
  while (!merges.empty()) {
    const Merge merge = merges.top();
    merges.pop();
    Symbol& left = at(merge.left);
    Symbol& right = at(merge.right);
    if (left.text.empty() || right.text.empty() ||
        left.text.size() + right.text.size() != merge.bytes)
      continue;  // one of them has become another one
    if (amount > 0 && draws.next() < amount) continue;
    left.text = {left.text.data(), merge.bytes};
    left.right = right.right;
    if (right.right >= 0) at(right.right).left = merge.left;
    right.text = {};
    offer(left.left, merge.left);
    offer(merge.left, left.right);
  }
  for (std::int32_t i = 0; i >= 0; i = at(i).right) {
    std::vector<std::string_view> stack{at(i).text};
    while (!stack.empty()) {
      const std::string_view part = stack.back();
      stack.pop_back();
      if (const auto found = parts.find(part); found != parts.end()) {
        stack.push_back(found->second.second);
        stack.push_back(found->second.first);
        continue;
      }
      const std::int32_t id = pieces().find(part);
      out.push_back({part, id >= 0 ? id : unknown()});
    }
  }
}

}  // namespace th::data
