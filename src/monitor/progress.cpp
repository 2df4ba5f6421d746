#include "th/monitor/progress.hpp"

#include <unistd.h>

namespace th::monitor {

Progress::Progress(bool allowed, std::FILE* stream) : stream_(stream), active_(allowed && isatty(fileno(stream)) == 1) {}

Progress::~Progress() { clear(); }

void Progress::show(const std::string& text) {
  if (!active_) return;
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
