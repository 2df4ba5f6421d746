#include "th/monitor/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

namespace th::monitor {

bool launcher_on_terminal() {
  // mpirun gives its ranks a pseudo-terminal even where its own output goes to a file.
  if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return true;
  std::array<char, 256> name{};
  const std::string link = "/proc/" + std::to_string(getppid()) + "/fd/1";
  const ssize_t length = readlink(link.c_str(), name.data(), name.size() - 1);
  const std::string_view target(name.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return target.starts_with("/dev/pts/") || target.starts_with("/dev/tty");
}

Progress::Progress(bool allowed, std::FILE* stream)
    : stream_(stream), active_(allowed && isatty(fileno(stream)) == 1) {}

Progress::~Progress() { clear(); }

void Progress::show(const std::string& line) {
  if (!active_) return;
  // A line that wraps can't be written over.
  winsize size{};
  const bool known = ioctl(fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  const std::string text = known ? line.substr(0, size.ws_col - 1U) : line;
  const std::size_t pad = shown_ > text.size() ? shown_ - text.size() : 0;
  std::fprintf(stream_, "\r%s%s", text.c_str(), std::string(pad, ' ').c_str());
  std::fflush(stream_);
  shown_ = text.size();
}

void Progress::clear() {
  if (!active_ || shown_ == 0) return;
  std::fprintf(stream_, "\r%s\r", std::string(shown_, ' ').c_str());
  std::fflush(stream_);
  shown_ = 0;
}

}  // namespace th::monitor
