#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace th::io {

/// Indices [begin, end) of one dimension.
struct IndexRange {
  std::int64_t begin = 0, end = 0;
  [[nodiscard]] std::int64_t count() const noexcept { return end > begin ? end - begin : 0; }
};

/// "W[2:4, -1]" as {"W", "2:4, -1"}; without brackets the slice is empty. Throws DeckError if the
/// text does not end with the closing bracket.
struct SlicedName {
  std::string name, slice;
};
[[nodiscard]] SlicedName split_slice(const std::string& text);

/// The ranges of a slice, which is written as numpy's. Each dimension has a part: `begin:end`, in
/// which either may be left out, or one index, which keeps its dimension with length 1. Negative
/// numbers count from the end, and dimensions without a part are whole. Bounds beyond the extent
/// are an error; the DeckError names the dimension, its extent and what was given.
[[nodiscard]] std::vector<IndexRange> parse_slice(const std::string& slice,
                                                  const std::vector<std::int64_t>& shape);

/// The elements [begin, begin + count) that hold every row of ranges[0], which is all that must be
/// read. `shape` is the tensor's.
struct RowSpan {
  std::int64_t begin = 0, count = 0;
};
[[nodiscard]] RowSpan rows_to_read(const std::vector<IndexRange>& ranges,
                                   const std::vector<std::int64_t>& shape);

/// The slice's rows (first dimension), each with the chosen elements of the other dimensions in
/// row-major order. `values` are the elements of rows_to_read().
[[nodiscard]] std::vector<std::vector<float>> take_rows(std::span<const float> values,
                                                        const std::vector<IndexRange>& ranges,
                                                        const std::vector<std::int64_t>& shape);

}  // namespace th::io
