#include "app/report/parts/line_stream.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "th/base/error.hpp"

namespace th::app {

namespace {

constexpr std::size_t kBlock = std::size_t{256} << 10;

}  // namespace

LineStream::LineStream(const std::string& path) : buffer_(kBlock) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code))
    throw DataError(path + ": can't be read: it is a folder");
  errno = 0;
  file_.open(path, std::ios::binary);
  if (!file_) throw DataError(path + ": can't be read: " + std::strerror(errno));
}

bool LineStream::more() {
  if (begin_ > 0) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < kBlock) buffer_.resize(end_ + kBlock);
  file_.read(buffer_.data() + end_, static_cast<std::streamsize>(kBlock));
  end_ += static_cast<std::size_t>(file_.gcount());
  return file_.gcount() > 0;
}

void LineStream::skip_line() {
  skips_ = false;
  do {
    const char* const found =
        static_cast<const char*>(std::memchr(buffer_.data() + begin_, '\n', end_ - begin_));
    if (found != nullptr) {
      begin_ = static_cast<std::size_t>(found - buffer_.data()) + 1;
      return;
    }
    begin_ = end_;
  } while (more());
}

bool LineStream::next(std::string_view& line) {
  if (skips_) skip_line();
  for (std::size_t seen = begin_;;) {
    const char* const found =
        static_cast<const char*>(std::memchr(buffer_.data() + seen, '\n', end_ - seen));
    if (found != nullptr) {
      const auto at = static_cast<std::size_t>(found - buffer_.data());
      line = {buffer_.data() + begin_, at - begin_};
      begin_ = at + 1;
      break;
    }
    const std::size_t length = end_ - begin_;
    skips_ = length >= kLongest;
    if (skips_ || !more()) {
      if (length == 0) return false;
      line = {buffer_.data() + begin_, length};
      torn_ = !skips_;
      begin_ = end_;
      break;
    }
    seen = begin_ + length;
  }
  ++number_;
  return true;
}

}  // namespace th::app
