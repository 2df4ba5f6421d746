#pragma once

#include <string>
#include <utility>
#include <vector>

#include "app/report/parts/series.hpp"

namespace th::app {

/// One of a picture's curves: a line over the bins of a series, or boxes.
struct Curve {
  struct Box {
    double left = 0, right = 0, low = 0, high = 0;
  };
  std::string label;
  int color = 0;        ///< of the palette, which begins anew behind its end, with other dashes
  bool dashed = false;  ///< beside the colour's own line
  bool band = false;    ///< the bins' least and greatest values are shown too
  std::vector<Series::Bin> bins;
  std::vector<Box> boxes;  ///< in place of a line
  [[nodiscard]] bool empty() const { return bins.empty() && boxes.empty(); }
};

/// What is drawn in one coordinate system.
struct Picture {
  std::string name;  ///< letters, digits and _: of the file, and of what its curves are called
  std::string title, x_label, y_label;
  std::string note;                                  ///< a sentence below it, in the page
  bool from_zero = false, logarithmic = false;       ///< of the y axis
  std::vector<std::pair<double, std::string>> rows;  ///< of boxes: a text in place of a number on y
  std::vector<Curve> curves;                         ///< those that are empty are not drawn
  [[nodiscard]] bool empty() const;
};

/// The commands with which gnuplot draws it as SVG on standard output. Texts are quoted, so that a
/// run's name is never a command.
[[nodiscard]] std::string gnuplot_script(const Picture& picture);

/// How a picture is used: within a page, whose colours it takes, or as a file of its own, which has
/// some for light and dark.
enum class SvgUse { kInline, kFile };
/// gnuplot's SVG with the picture's title, ids that begin with its name, and each curve in a group
/// <g class="curve"> with its label as title. Throws InternalError where `svg` is no SVG.
[[nodiscard]] std::string finished_svg(const Picture& picture, const std::string& svg, SvgUse use);

}  // namespace th::app
