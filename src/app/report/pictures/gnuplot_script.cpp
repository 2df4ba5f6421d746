#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "app/report/parts/text_form.hpp"
#include "app/report/pictures/picture.hpp"

namespace th::app {

namespace {

/// Each has a contrast of 3 to white and to the page's dark ground.
constexpr std::array<const char*, 10> kPalette{"#3B7DD8", "#D9661F", "#2E9E6B", "#9B62D0",
                                               "#D8484F", "#1E97A8", "#D0569B", "#8A8A1F",
                                               "#A9744F", "#7A8698"};
constexpr int kWidth = 760, kHeight = 340, kRowHeight = 30, kLegendHeight = 22;
constexpr std::size_t kLabelCharacters = 40, kFewPoints = 40;

/// A text in gnuplot's single quotes, where '' is a quote and nothing else is special. gnuplot
/// itself writes < as an entity, and leaves &#x26; as it is.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : shortened(clean_text(text), kLabelCharacters)) {
    if (c == '\n' || c == '\t')
      out += ' ';
    else if (c == '\'')
      out += "''";
    else if (c == '&')
      out += "&#x26;";
    else
      out += c;
  }
  return out + "'";
}

std::string data_line(std::initializer_list<double> values) {
  std::string line;
  for (const double value : values) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.9g ", value);
    line += text.data();
  }
  line.back() = '\n';
  return line;
}

std::string data_of(const Curve& curve, std::size_t index) {
  std::string out = "$d" + std::to_string(index) + " << END\n";
  for (const Series::Bin& bin : curve.bins) out += data_line({bin.x, bin.mean, bin.low, bin.high});
  for (const Curve::Box& box : curve.boxes)
    out += data_line({(box.left + box.right) / 2, (box.low + box.high) / 2, box.left, box.right,
                      box.low, box.high});
  return out + "END\n";
}

std::string plot_of(const Curve& curve, std::size_t index, bool titled) {
  const std::string data = "$d" + std::to_string(index);
  const auto colors = std::ssize(kPalette);
  const std::string color =
      std::string(" rgb '") + kPalette[static_cast<std::size_t>(curve.color % colors)] + "'";
  const std::string title = titled ? " title " + quoted(curve.label) : " notitle";
  if (!curve.boxes.empty())
    return data + " using 1:2:3:4:5:6 with boxxyerror fillcolor" + color +
           " fillstyle solid 0.85 noborder" + title;
  std::string out;
  if (curve.band)
    out = data + " using 1:3:4 with filledcurves fillcolor" + color +
          " fillstyle solid 0.25 noborder notitle, \\\n  ";
  const auto dash = curve.color / colors + (curve.dashed ? 2 : 1);
  out += data + " using 1:2 with ";
  out += curve.bins.size() <= kFewPoints ? "linespoints pointtype 7 pointsize 0.35 " : "lines ";
  return out + "linewidth 1.6 dashtype " + (dash == 1 ? "solid" : std::to_string(dash)) +
         " linecolor" + color + title;
}

/// The x axis counts steps: its numbers are whole.
std::string steps_axis(const Picture& picture) {
  double first = HUGE_VAL, last = -HUGE_VAL;
  for (const Curve& curve : picture.curves) {
    for (const Series::Bin& bin : curve.bins) {
      first = std::min(first, bin.x);
      last = std::max(last, bin.x);
    }
  }
  std::string out = "set format x '%.0f'\n";
  if (last - first < 8) out += "set xtics 1\n";
  // A single point, or points of one step, have no range of their own.
  if (!(last > first))
    out += "set xrange [" + number_form(first - 1) + ":" + number_form(first + 1) + "]\n";
  return out;
}

std::string row_axis(const Picture& picture) {
  std::string tics;
  for (const auto& [place, label] : picture.rows)
    tics += (tics.empty() ? "" : ", ") + quoted(label) + " " + number_form(place);
  return "set ytics (" + tics + ") scale 0\nset yrange [" +
         number_form(static_cast<double>(picture.rows.size()) + 0.5) +
         ":0.5]\nset xrange [0:*]\nset border 1\n";
}

}  // namespace

bool Picture::empty() const {
  return std::all_of(curves.begin(), curves.end(), [](const Curve& c) { return c.empty(); });
}

std::string gnuplot_script(const Picture& picture) {
  const bool boxes = !picture.rows.empty();
  const auto shown = std::count_if(picture.curves.begin(), picture.curves.end(),
                                   [](const Curve& curve) { return !curve.empty(); });
  const bool legend = shown > 1;
  const int rows = static_cast<int>(picture.rows.size());
  const int height = (boxes ? 100 + kRowHeight * rows : kHeight) +
                     (legend ? kLegendHeight * static_cast<int>((shown + 2) / 3) : 0);
  std::string out = "set terminal svg size " + std::to_string(kWidth) + "," +
                    std::to_string(height) +
                    " dynamic noenhanced font 'sans-serif,14' rounded\n"
                    "set encoding utf8\nset border 3\nset tics nomirror out\n"
                    "set grid linecolor rgb '#808080' linewidth 0.5\n";
  out += legend ? "set key tmargin center horizontal Left reverse\n" : "unset key\n";
  out += "set xlabel " + quoted(picture.x_label) + "\n";
  if (!picture.y_label.empty()) out += "set ylabel " + quoted(picture.y_label) + "\n";
  if (picture.logarithmic) out += "set logscale y\nset format y '%g'\n";
  if (picture.from_zero) out += "set yrange [0:*]\n";
  out += boxes ? row_axis(picture) : steps_axis(picture);
  std::string plots;
  for (std::size_t i = 0; i < picture.curves.size(); ++i) {
    if (picture.curves[i].empty()) continue;
    out += data_of(picture.curves[i], i);
    plots += (plots.empty() ? "plot " : ", \\\n  ") + plot_of(picture.curves[i], i, legend);
  }
  return out + plots + "\n";
}

}  // namespace th::app
