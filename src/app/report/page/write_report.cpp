#include "app/report/page/write_report.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "app/report/files/run_data.hpp"
#include "app/report/page/page.hpp"
#include "app/report/pictures/gnuplot.hpp"
#include "app/report/pictures/picture.hpp"
#include "app/report/pictures/run_pictures.hpp"
#include "th/base/error.hpp"

namespace th::app {

namespace {

namespace fs = std::filesystem;

/// The first bytes of a file hold the mark that th_report writes.
bool is_ours(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string begin(4096, '\0');
  file.read(begin.data(), std::ssize(begin));
  begin.resize(static_cast<std::size_t>(file.gcount()));
  return begin.empty() || begin.starts_with(kPageBegin) ||
         (begin.starts_with("<?xml") && begin.find("for th_report</desc>") != std::string::npos);
}

void require_replaceable(const std::string& path, bool force) {
  std::error_code code;
  if (!fs::exists(path, code)) return;
  if (fs::is_directory(path, code)) throw DeckError(path + ": is a folder; name a file");
  if (!force && !is_ours(path))
    throw DeckError(path + ": is there and is no report; give another name, or --force");
}

void write_file(const std::string& path, std::string_view text) {
  const std::string part = path + ".partial." + std::to_string(getpid());
  const auto fail = [&](int error) {
    std::remove(part.c_str());
    throw DataError(path + ": can't be written: " + std::strerror(error));
  };
  errno = 0;
  {
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file.write(text.data(), std::ssize(text));
    file.close();
    if (!file) fail(errno);
  }
  if (std::rename(part.c_str(), path.c_str()) != 0) fail(errno);
}

std::string svg_path(const ReportRequest& request, const Picture& picture) {
  return (fs::path(request.svg_folder) / (picture.name + ".svg")).string();
}

void make_folder(const std::string& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) throw DataError(folder + ": can't be made: " + code.message());
  if (!fs::is_directory(folder)) throw DeckError("--svg " + folder + ": is no folder");
}

}  // namespace

std::vector<std::string> write_report(const ReportRequest& request) {
  const Gnuplot gnuplot;  // before what takes time
  if (!request.output.empty()) require_replaceable(request.output, request.force);
  const std::vector<RunData> runs = read_runs(request.runs);
  std::vector<Picture> pictures = pictures_of(runs);
  if (!request.svg_folder.empty()) {
    make_folder(request.svg_folder);
    for (const Picture& picture : pictures)
      require_replaceable(svg_path(request, picture), request.force);
  }
  std::vector<std::string> written;
  std::vector<DrawnPicture> drawn;
  for (Picture& picture : pictures) {
    const std::string svg = gnuplot.draw(gnuplot_script(picture));
    if (!request.svg_folder.empty()) {
      written.push_back(svg_path(request, picture));
      write_file(written.back(), finished_svg(picture, svg, SvgUse::kFile));
    }
    std::string inline_svg = finished_svg(picture, svg, SvgUse::kInline);
    drawn.push_back({std::move(picture), std::move(inline_svg)});
  }
  if (!request.output.empty()) {
    write_file(request.output, page_of(runs, drawn));
    written.push_back(request.output);
  }
  return written;
}

}  // namespace th::app
