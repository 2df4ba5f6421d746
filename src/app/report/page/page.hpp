#pragma once

#include <string>
#include <vector>

#include "app/report/files/run_data.hpp"
#include "app/report/pictures/picture.hpp"

namespace th::app {

struct DrawnPicture {
  Picture picture;
  std::string svg;  ///< finished_svg() for a page
};

/// What the file begins with: how a page of th_report's is told from another file.
inline constexpr const char* kPageBegin =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"generator\" content=\"th_report";

/// The whole page: without scripts, and without anything that is fetched.
[[nodiscard]] std::string page_of(const std::vector<RunData>& runs,
                                  const std::vector<DrawnPicture>& pictures);

}  // namespace th::app
