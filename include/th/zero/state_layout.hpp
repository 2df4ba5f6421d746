#pragma once

#include <cstdint>
#include <vector>

#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// Which elements of the flat parameter space a state of an optimizer has, and where they lie in a
/// rank's buffer of it: all of them, as the parameters lie, or those of some tensors alone, one
/// unit's after the other's without room for the rest.
class StateLayout {
 public:
  /// Elements [begin, end) of a whole unit.
  struct Range {
    std::int64_t begin = 0, end = 0;
  };
  StateLayout() = default;
  /// Every element; `sharded`: of this rank's shards, else of all.
  StateLayout(const FlatLayout& layout, bool sharded);
  /// Elements `held`, by unit and in order, of a rank's shards. Every rank's buffer has room for
  /// what the rank with most of them has in each unit.
  StateLayout(const FlatLayout& layout, std::vector<std::vector<Range>> held);

  /// Whether it has every element.
  [[nodiscard]] bool dense() const noexcept { return held_.empty(); }
  /// Elements of a rank's buffer, a multiple of 2.
  [[nodiscard]] std::int64_t elements() const noexcept { return elements_; }
  /// Where element `at` of a whole unit lies in the buffer of the rank whose shard of it begins at
  /// `shard_begin` (0 where states are whole), or would, were it held.
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
