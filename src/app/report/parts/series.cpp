#include "app/report/parts/series.hpp"

#include <algorithm>
#include <cmath>

namespace th::app {

void Series::Cell::take(const Cell& other) {
  if (other.count == 0) return;
  low = count == 0 ? other.low : std::min(low, other.low);
  high = count == 0 ? other.high : std::max(high, other.high);
  x += other.x;
  weight += other.weight;
  weighted += other.weighted;
  count += other.count;
}

void Series::merge_neighbours() {
  const std::size_t half = (cells_.size() + 1) / 2;
  for (std::size_t i = 0; i < half; ++i) {
    Cell both = cells_[2 * i];
    if (2 * i + 1 < cells_.size()) both.take(cells_[2 * i + 1]);
    cells_[i] = both;
  }
  cells_.resize(half);
  width_ *= 2;
}

std::size_t Series::place_of(double x) {
  for (;;) {
    const double place = std::floor((x - first_) / width_);
    if (place < 1) return 0;  // a point before the first one stands with it
    if (place < static_cast<double>(kMost)) return static_cast<std::size_t>(place);
    merge_neighbours();
  }
}

void Series::add(double x, double y, double weight) {
  if (!std::isfinite(x) || !std::isfinite(y) || !(weight > 0)) return;
  if (count_ == 0) {
    first_ = x;
    lowest_ = highest_ = {x, y};
  }
  const std::size_t place = place_of(x);
  if (place >= cells_.size()) cells_.resize(place + 1);
  cells_[place].take({x, weight, weight * y, y, y, 1});
  ++count_;
  last_ = {x, y};
  if (y < lowest_.y) lowest_ = last_;
  if (y > highest_.y) highest_ = last_;
}

bool Series::thinned() const {
  return std::any_of(cells_.begin(), cells_.end(), [](const Cell& cell) { return cell.count > 1; });
}

std::vector<Series::Bin> Series::bins() const {
  std::vector<Bin> out;
  for (const Cell& cell : cells_) {
    if (cell.count == 0) continue;
    out.push_back({cell.x / static_cast<double>(cell.count), cell.weighted / cell.weight, cell.low,
                   cell.high, cell.count});
  }
  return out;
}

}  // namespace th::app
