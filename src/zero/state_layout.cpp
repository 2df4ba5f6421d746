#include "th/zero/state_layout.hpp"

#include <algorithm>
#include <utility>

#include "th/base/error.hpp"

namespace th::zero {

StateLayout::StateLayout(const FlatLayout& layout, bool sharded)
    : elements_(sharded ? layout.shard_total() : layout.padded_total()) {
  for (const FlatLayout::Unit& unit : layout.units())
    first_.push_back(sharded ? unit.shard_offset : unit.offset);
}

StateLayout::StateLayout(const FlatLayout& layout, std::vector<std::vector<Range>> held)
    : held_(std::move(held)) {
  ensure(held_.size() == layout.units().size(), "StateLayout: ranges of other units");
  for (std::int64_t u = 0; u < std::ssize(layout.units()); ++u) {
    first_.push_back(elements_);
    const std::int64_t shard = layout.units()[static_cast<std::size_t>(u)].shard;
    std::int64_t most = 0;
    for (std::int64_t r = 0; r < layout.ranks(); ++r)
      most = std::max(most, before(u, (r + 1) * shard) - before(u, r * shard));
    elements_ += most + most % 2;
  }
}

std::int64_t StateLayout::before(std::int64_t unit, std::int64_t at) const {
  std::int64_t count = 0;
  for_runs(unit, 0, at, [&](std::int64_t, std::int64_t run) { count += run; });
  return count;
}

std::int64_t StateLayout::offset(std::int64_t unit, std::int64_t at,
                                 std::int64_t shard_begin) const {
  const std::int64_t first = first_[static_cast<std::size_t>(unit)];
  return dense() ? first + at - shard_begin : first + before(unit, at) - before(unit, shard_begin);
}

}  // namespace th::zero
