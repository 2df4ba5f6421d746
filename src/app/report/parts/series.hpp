#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace th::app {

/// A curve of any number of points in flat memory. The x axis is divided into bins of equal width,
/// which begins at 1; where a point would need more bins than kMost, neighbours become one. A bin
/// has the weighted mean, the least and the greatest value of its points, so that no spike is lost.
class Series {
 public:
  static constexpr std::size_t kMost = 400;

  struct Bin {
    double x = 0;  ///< the mean of its points'
    double mean = 0, low = 0, high = 0;
    std::int64_t count = 0;
  };
  struct Point {
    double x = 0, y = 0;
  };

  /// Points come in any order, mostly by rising x. One whose x or y is not finite, or whose weight
  /// is not above 0, is left out.
  void add(double x, double y, double weight = 1);

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }
  /// Of a bin, in units of x.
  [[nodiscard]] double width() const noexcept { return width_; }
  /// Whether a bin has several points: few points far apart need none, whatever the width.
  [[nodiscard]] bool thinned() const;
  /// The point that came last, and the first ones of least and greatest y; zeros where it is empty.
  [[nodiscard]] const Point& last() const noexcept { return last_; }
  [[nodiscard]] const Point& lowest() const noexcept { return lowest_; }
  [[nodiscard]] const Point& highest() const noexcept { return highest_; }
  /// Those that have points, by rising x.
  [[nodiscard]] std::vector<Bin> bins() const;

 private:
  struct Cell {
    double x = 0, weight = 0, weighted = 0, low = 0, high = 0;
    std::int64_t count = 0;
    void take(const Cell& other);
  };
  [[nodiscard]] std::size_t place_of(double x);
  void merge_neighbours();

  std::vector<Cell> cells_;
  double first_ = 0, width_ = 1;
  std::int64_t count_ = 0;
  Point last_, lowest_, highest_;
};

}  // namespace th::app
