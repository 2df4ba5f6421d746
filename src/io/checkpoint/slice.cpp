#include "th/io/checkpoint/slice.hpp"

#include <charconv>

#include "th/base/counted.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/compare.hpp"

namespace th::io {
namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::int64_t parse_index(const std::string& text, const std::string& part) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw DeckError("a slice is BEGIN:END or an index for each dimension, as in [0:4,-1]; seen '" +
                    part + "'");
  }
  return value;
}

[[noreturn]] void out_of_range(const std::string& part, std::size_t axis, std::int64_t extent) {
  throw DeckError("slice '" + part + "' is out of range: dimension " + std::to_string(axis) +
                  " has " + counted(extent, "element"));
}

IndexRange parse_part(const std::string& part, std::size_t axis, std::int64_t extent) {
  const auto colon = part.find(':');
  const auto bound = [&](const std::string& text, std::int64_t otherwise) {
    if (text.empty()) return otherwise;
    const std::int64_t given = parse_index(text, part);
    const std::int64_t index = given < 0 ? given + extent : given;
    if (index < 0 || index > extent) out_of_range(part, axis, extent);
    return index;
  };
  if (colon != std::string::npos)
    return {bound(trimmed(part.substr(0, colon)), 0),
            bound(trimmed(part.substr(colon + 1)), extent)};
  const std::int64_t given = parse_index(part, part);
  const std::int64_t index = given < 0 ? given + extent : given;
  if (index < 0 || index >= extent) out_of_range(part, axis, extent);
  return {index, index + 1};
}

void take(std::span<const float> values, const std::vector<IndexRange>& ranges,
          const std::vector<std::int64_t>& shape, std::size_t axis, std::int64_t offset,
          std::vector<float>& out) {
  if (axis == shape.size()) {
    out.push_back(values[static_cast<std::size_t>(offset)]);
    return;
  }
  for (std::int64_t i = ranges[axis].begin; i < ranges[axis].end; ++i)
    take(values, ranges, shape, axis + 1, offset * shape[axis] + i, out);
}

}  // namespace

SlicedName split_slice(const std::string& text) {
  const auto open = text.find('[');
  if (open == std::string::npos) return {text, ""};
  if (text.back() != ']' || text.find_first_of("[]", open + 1) != text.size() - 1) {
    throw DeckError(
        "a slice stands in one pair of brackets at the end of the name, as in NAME[0:4]; seen '" +
        text + "'");
  }
  const std::string slice = trimmed(text.substr(open + 1, text.size() - open - 2));
  if (slice.empty())
    throw DeckError("the slice of '" + text + "' is empty; a slice is [BEGIN:END]");
  return {text.substr(0, open), slice};
}

std::vector<IndexRange> parse_slice(const std::string& slice,
                                    const std::vector<std::int64_t>& shape) {
  std::vector<IndexRange> ranges;
  for (std::size_t at = 0; !slice.empty() && at <= slice.size();) {
    const std::size_t comma = std::min(slice.find(',', at), slice.size());
    const std::size_t axis = ranges.size();
    if (axis == shape.size())
      throw DeckError("slice '" + slice + "' has more dimensions than the shape " +
                      shape_to_text(shape));
    ranges.push_back(parse_part(trimmed(slice.substr(at, comma - at)), axis, shape[axis]));
    at = comma + 1;
  }
  for (std::size_t axis = ranges.size(); axis < shape.size(); ++axis)
    ranges.push_back({0, shape[axis]});
  return ranges;
}

RowSpan rows_to_read(const std::vector<IndexRange>& ranges,
                     const std::vector<std::int64_t>& shape) {
  std::int64_t width = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) width *= shape[axis];
  if (shape.empty()) return {0, 1};
  return {ranges[0].begin * width, ranges[0].count() * width};
}

std::vector<std::vector<float>> take_rows(std::span<const float> values,
                                          const std::vector<IndexRange>& ranges,
                                          const std::vector<std::int64_t>& shape) {
  if (shape.empty()) return {{values[0]}};
  std::vector<std::vector<float>> rows;
  for (std::int64_t row = 0; row < ranges[0].count(); ++row) {
    rows.emplace_back();
    take(values, ranges, shape, 1, row, rows.back());
  }
  return rows;
}

}  // namespace th::io
