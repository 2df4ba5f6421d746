#pragma once

#include <string>

namespace th::app {

/// The program that draws: gnuplot of PATH, or the one that TH_GNUPLOT names.
class Gnuplot {
 public:
  /// Throws DeckError, one line that names Debian's package, where it can't be started.
  Gnuplot();
  /// Gives it the commands and returns its standard output. Throws InternalError with its first
  /// line of trouble where it fails.
  [[nodiscard]] std::string draw(const std::string& script) const;

 private:
  std::string program_;
};

}  // namespace th::app
