#pragma once

#include <string>
#include <vector>

namespace th::app {

struct ReportRequest {
  std::vector<std::string> runs;
  std::string output;      ///< the page; empty: none
  std::string svg_folder;  ///< for the pictures alone; empty: none
  bool force = false;      ///< files that another program wrote are replaced too
};

/// Reads the runs, draws, and writes page and pictures, each at once by rename. Returns the paths
/// that were written. Throws DataError where a run can't be read or a file not be written,
/// DeckError where gnuplot is not there or a file of another program is in the way.
std::vector<std::string> write_report(const ReportRequest& request);

}  // namespace th::app
