#include <string_view>
#include <utility>

#include "app/report/parts/text_form.hpp"
#include "app/report/pictures/picture.hpp"
#include "th/base/error.hpp"

namespace th::app {

namespace {

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

/// What gnuplot draws of each curve, in its order: a band first.
std::vector<std::string> element_labels(const Picture& picture) {
  std::vector<std::string> labels;
  for (const Curve& curve : picture.curves) {
    if (curve.empty()) continue;
    if (curve.band && curve.boxes.empty()) labels.push_back(curve.label + ", lowest to highest");
    labels.push_back(curve.label);
  }
  return labels;
}

/// `<g id="gnuplot_plot_2" ><title>gnuplot_plot_2</title>`: the title is what a pointer shows.
void name_curves(const Picture& picture, std::string& svg) {
  const std::vector<std::string> labels = element_labels(picture);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::string id = "gnuplot_plot_" + std::to_string(i + 1);
    replace_all(svg, "<g id=\"" + id + "\" ><title>" + id + "</title>",
                "<g class=\"curve\" id=\"" + id + "\"><title>" + escaped(labels[i]) + "</title>");
  }
}

constexpr const char* kFileStyle =
    "<style>svg{color:#1c1e21;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e4e6ea;background:#16181c}}</style>\n";

}  // namespace

std::string finished_svg(const Picture& picture, const std::string& svg, SvgUse use) {
  const std::size_t begin = svg.find("<svg"), body = svg.find("<title>"), end = svg.rfind("</svg>"),
                    description = svg.find("</desc>");
  ensure(begin != std::string::npos && body != std::string::npos && end != std::string::npos &&
             description != std::string::npos && body < description,
         "gnuplot's output is no SVG");
  // Black is the colour of the text around it, and a group's own black must not stand before that.
  std::string rest = svg.substr(description + 7, end - description - 7);
  for (const char* color : {"black", "white", "gray"})
    replace_all(rest, std::string(" color=\"") + color + "\"", "");
  replace_all(rest, "=\"black\"", "=\"currentColor\"");
  replace_all(rest, "='black'", "='currentColor'");
  name_curves(picture, rest);
  // A page has several pictures, and an id once.
  for (const char* reference : {"id='", "id=\"", "href='#", "url(#"})
    replace_all(rest, reference, reference + picture.name + "_");
  const std::string title = escaped(picture.title);
  std::string out = svg.substr(begin, body - begin);
  out.insert(4, " role=\"img\" aria-label=\"" + title + "\"");
  out += "<title>" + title + "</title>\n<desc>drawn by gnuplot for th_report</desc>\n";
  if (use == SvgUse::kFile)
    return "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n" + out + kFileStyle + rest + "</svg>\n";
  return out + rest + "</svg>\n";
}

}  // namespace th::app
