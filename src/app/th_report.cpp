#include "app/report/page/write_report.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"

#include <boost/program_options.hpp>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

// th_report: one static page of one or several runs.
namespace {

namespace po = boost::program_options;

th::app::ReportRequest parse(int argc, char** argv) {
  th::app::ReportRequest request;
  po::options_description options(
      "th_report RUN... --output F.html: one static page of one or several runs, by their folders "
      "(run.output_dir); docs/th_report.md says what is on it");
  auto add = options.add_options();
  add("help,h", "this text");
  add("version", "of the program");
  add("output", po::value(&request.output), "the page");
  add("svg", po::value(&request.svg_folder),
      "a folder for the pictures alone, NAME.svg each; with --output beside the page");
  add("force", po::bool_switch(&request.force), "replaces files that are no reports");
  po::options_description all;
  all.add(options).add_options()("run", po::value(&request.runs));
  po::positional_options_description words;
  words.add("run", -1);
  try {
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(all).positional(words).run(), values);
    if (values.contains("help")) {
      std::cout << options;
      std::exit(0);
    }
    if (values.contains("version")) {
      std::cout << "th_report " << th::build_line() << "\n";
      std::exit(0);
    }
    po::notify(values);
  } catch (const po::error& error) {
    throw th::DeckError(std::string(error.what()) +
                        "; usage: th_report RUN... --output F.html, --help lists the options");
  }
  if (request.runs.empty())
    throw th::DeckError("no run is given; usage: th_report RUN... --output F.html");
  if (request.output.empty() && request.svg_folder.empty())
    throw th::DeckError("neither --output F.html nor --svg FOLDER is given");
  return request;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    for (const std::string& path : th::app::write_report(parse(argc, argv)))
      std::cout << path << ": written\n";
    std::cout.flush();
    return std::cout ? 0 : static_cast<int>(th::ExitCode::kData);
  } catch (const th::Error& error) {
    std::cerr << "th_report: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::cerr << "th_report: " << error.what() << "\n";
    return static_cast<int>(th::ExitCode::kDiffers);
  }
}
