#pragma once

#include <cstdint>
#include <vector>

#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// Which elements of the flat parameter space an optimizer's state has, and their offsets in a
/// rank's buffer of it. It has either all elements, in the order of the parameters, or only those
/// of some tensors, unit after unit without gaps.
class StateLayout {
 public:
  /// Elements [begin, end) of a whole unit.
  struct Range {
    std::int64_t begin = 0, end = 0;
  };
  StateLayout() = default;
  /// A state of every element: of this rank's shards if `sharded`, otherwise of all.
  StateLayout(const FlatLayout& layout, bool sharded);
  /// A state of the elements `held`, by unit and in order, of a rank's shards. In each unit every
  /// rank's buffer has room for as many elements as the rank with most of them has.
  StateLayout(const FlatLayout& layout, std::vector<std::vector<Range>> held);

  /// Whether it has every element.
  [[nodiscard]] bool dense() const noexcept { return held_.empty(); }
  /// Elements of a rank's buffer, a multiple of 2.
  [[nodiscard]] std::int64_t elements() const noexcept { return elements_; }
  /// The offset of element `at` of a whole unit in the buffer of the rank whose shard of the unit
  /// begins at `shard_begin` (0 if states are whole). For an element that is not held, the offset
  /// that it would have.
  [[nodiscard]] std::int64_t offset(std::int64_t unit, std::int64_t at,
                                    std::int64_t shard_begin) const;
  /// Calls body(begin, count) for the runs of held elements of [at, at + count).
  template <typename Body>
  void for_runs(std::int64_t unit, std::int64_t at, std::int64_t count, const Body& body) const {
    if (dense()) return body(at, count);
    for (const Range& range : held_[static_cast<std::size_t>(unit)]) {
      const std::int64_t begin = range.begin < at ? at : range.begin;
      const std::int64_t end = range.end > at + count ? at + count : range.end;
      if (begin < end) body(begin, end - begin);
    }
  }

 private:
  /// Held elements of a unit before `at`.
  [[nodiscard]] std::int64_t before(std::int64_t unit, std::int64_t at) const;

  std::vector<std::int64_t> first_;  ///< by unit: where its elements begin in the buffer
  std::vector<std::vector<Range>> held_;
  std::int64_t elements_ = 0;
};

}  // namespace th::zero
