#include "app/inspect/inspect_commands.hpp"
#include "app/inspect/numbers.hpp"
#include "th/base/counted.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "th/base/json_text.hpp"
#include "th/io/checkpoint/compare.hpp"

// diff A B: tensor by tensor, in pieces, so that memory does not depend on the model.
namespace th::app {
namespace {

using Json = nlohmann::json;

io::Difference difference_of(const io::CheckpointReader& a, const io::CheckpointReader& b,
                             const TensorEntry& entry) {
  io::Difference difference;
  const std::int64_t count = entry.spec->count();
  std::vector<float> left(static_cast<std::size_t>(std::min(count, kPieceElements))),
      right(left.size());
  for (std::int64_t begin = 0; begin < count; begin += kPieceElements) {
    const auto size = static_cast<std::size_t>(std::min(count - begin, kPieceElements));
    a.read_elements(entry.kind, entry.name, begin, std::span(left).first(size));
    b.read_elements(entry.kind, entry.name, begin, std::span(right).first(size));
    io::compare(std::span<const float>(left).first(size), std::span<const float>(right).first(size),
                difference);
  }
  return difference;
}

std::string difference_text(const io::Difference& d) {
  std::string text = "largest difference " + number_text(d.largest, 9) + ", " +
                     counted(d.ulps, "ULP") + ", " + std::to_string(d.differing) + " of " +
                     counted(d.count, "element");
  if (d.nan_in_a > 0) text += ", " + std::to_string(d.nan_in_a) + " NaN in A alone";
  if (d.nan_in_b > 0) text += ", " + std::to_string(d.nan_in_b) + " NaN in B alone";
  return text;
}

/// The names of a checkpoint that are compared.
std::map<std::string, TensorEntry> named(const io::CheckpointReader& reader, bool parameters_only) {
  std::map<std::string, TensorEntry> out;
  for (auto& entry : entries(reader)) {
    if (!parameters_only || entry.kind == "parameters") out.emplace(entry.full_name(), entry);
  }
  return out;
}

class Comparison {
 public:
  Comparison(const io::CheckpointReader& a, const io::CheckpointReader& b,
             const InspectRequest& request)
      : a_(a), b_(b), request_(request) {}

  int run() {
    vocabulary("source", a_.info().source(), b_.info().source());
    vocabulary("target", a_.info().target(), b_.info().target());
    const auto left = named(a_, request_.parameters_only);
    const auto right = named(b_, request_.parameters_only);
    for (const auto& [name, entry] : left) {
      const auto other = right.find(name);
      if (other == right.end())
        only_in_a_ += only(name, entry, "only_in_a", a_.folder());
      else if (!entry.is_alias || !other->second.is_alias)
        both(name, entry, other->second);
    }
    for (const auto& [name, entry] : right) {
      if (!left.contains(name)) only_in_b_ += only(name, entry, "only_in_b", b_.folder());
    }
    const Json json = {{"same", differing_ == 0}, {"a", a_.folder()},
                       {"b", b_.folder()},        {"compared", compared_},
                       {"differing", differing_}, {"only_in_a", only_in_a_},
                       {"only_in_b", only_in_b_}, {"vocabularies", vocabularies_},
                       {"differences", rows_}};
    answer(request_,
           a_.folder() + " and " + b_.folder() + ": " + counted(compared_, "tensor") +
               " compared, " + verdict(),
           json_text(json));
    return differing_ == 0 ? 0 : 1;
  }

 private:
  /// "the same", or what is not, each kind by itself.
  [[nodiscard]] std::string verdict() const {
    if (differing_ == 0) return "the same";
    const std::int64_t compared = differing_ - only_in_a_ - only_in_b_ - vocabularies_;
    std::string text = std::to_string(compared) + (compared == 1 ? " differs" : " differ");
    if (only_in_a_ > 0) text += ", " + std::to_string(only_in_a_) + " in A alone";
    if (only_in_b_ > 0) text += ", " + std::to_string(only_in_b_) + " in B alone";
    if (vocabularies_ > 0)
      text += vocabularies_ == 1 ? ", a vocabulary differs" : ", both vocabularies differ";
    return text;
  }

  void add(Json row, const std::string& text) {
    ++differing_;
    if (request_.json)
      rows_.push_back(std::move(row));
    else
      std::cout << row["name"].get<std::string>() << ": " << text << '\n';
  }

  void vocabulary(const std::string& side, const data::SavedTokenizer& a,
                  const data::SavedTokenizer& b) {
    const std::string text = io::tokenizer_difference(a, "A", b, "B");
    if (text.empty()) return;
    ++vocabularies_;
    add({{"name", "vocabulary/" + side}, {"kind", "vocabulary"}, {"text", text}}, text);
  }

  /// One tensor more on that side.
  int only(const std::string& name, const TensorEntry& entry, const std::string& kind,
           const std::string& folder) {
    add({{"name", name}, {"kind", kind}, {"shape", entry.spec->shape}}, "only in " + folder);
    return 1;
  }

  void both(const std::string& name, const TensorEntry& left, const TensorEntry& right) {
    ++compared_;
    if (left.spec->shape != right.spec->shape) {
      add({{"name", name},
           {"kind", "shape"},
           {"shape_a", left.spec->shape},
           {"shape_b", right.spec->shape}},
          "shape " + io::shape_to_text(left.spec->shape) + " in A, " +
              io::shape_to_text(right.spec->shape) + " in B");
      return;
    }
    const io::Difference d = difference_of(a_, b_, left);
    if (d.differing == 0) return;
    add({{"name", name},
         {"kind", "values"},
         {"largest", d.largest},
         {"ulps", d.ulps},
         {"differing", d.differing},
         {"count", d.count},
         {"one_sided_nan", d.nan_in_a + d.nan_in_b},
         {"nan_in_a", d.nan_in_a},
         {"nan_in_b", d.nan_in_b}},
        difference_text(d));
  }

  const io::CheckpointReader& a_;
  const io::CheckpointReader& b_;
  const InspectRequest& request_;
  Json rows_ = Json::array();
  std::int64_t compared_ = 0, differing_ = 0;  ///< differing of all kinds, those below too
  std::int64_t only_in_a_ = 0, only_in_b_ = 0, vocabularies_ = 0;
};

}  // namespace

int inspect_diff(const InspectRequest& request) {
  const auto a = open_checkpoint(request.words[0]);
  const auto b = open_checkpoint(request.words[1]);
  return Comparison(*a, *b, request).run();
}

}  // namespace th::app
