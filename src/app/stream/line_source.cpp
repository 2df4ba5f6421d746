#include "app/stream/line_source.hpp"

#include "app/stream/stop_requested.hpp"
#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/data/byte_source.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <string_view>

namespace th::app {

namespace {

constexpr int kPauseMs = 100;

/// What a path is, for reading.
bool is_stream(const std::string& path) {
  struct stat about {};
  return path.empty() ||
         (::stat(path.c_str(), &about) == 0 && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode));
}

}  // namespace

/// The bytes of the input with lines above kLongestLine cut off, so that none of them is ever held;
/// their numbers are kept until they are asked for.
class LineSource::Bytes {
 public:
  Bytes(const std::string& path, Paused paused)
      : name_(path.empty() ? "standard input" : path), paused_(std::move(paused)) {
    if (!is_stream(path)) {
      file_.emplace(name_, path, std::chrono::milliseconds(-1));
      return;
    }
    if (path.empty()) {
      stream_ = STDIN_FILENO;
      return;
    }
    opened_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    stream_ = opened_.get();
    if (stream_ < 0) throw DataError(name_ + ": can't be read: " + std::strerror(errno));
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Fills a part of the block; 0 at the end.
  [[nodiscard]] std::size_t read(std::span<char> block) {
    while (true) {
      const std::size_t got = file_ ? file_->read(block) : read_stream(block);
      if (got == 0) return 0;
      if (const std::size_t kept = keep(block.first(got)); kept > 0) return kept;
    }
  }
  /// Whether line `number`, from 1, was cut; lines are asked for in their order.
  [[nodiscard]] bool was_cut(std::int64_t number) {
    if (cut_.empty() || cut_.front() != number) return false;
    cut_.pop_front();
    return true;
  }

 private:
  /// Moves what stays to the front; how much that is.
  [[nodiscard]] std::size_t keep(std::span<char> bytes) {
    std::size_t kept = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const auto* end = static_cast<const char*>(std::memchr(&bytes[at], '\n', bytes.size() - at));
      const std::size_t stop =
          end == nullptr ? bytes.size() : static_cast<std::size_t>(end - bytes.data());
      const auto room = static_cast<std::size_t>(kLongestLine - length_);
      const std::size_t taken = std::min(stop - at, room);
      if (taken < stop - at && (cut_.empty() || cut_.back() != line_)) cut_.push_back(line_);
      std::memmove(&bytes[kept], &bytes[at], taken);
      kept += taken;
      length_ += static_cast<std::int64_t>(taken);
      at = stop;
      if (end == nullptr) continue;
      bytes[kept++] = '\n';
      ++at;
      ++line_;
      length_ = 0;
    }
    return kept;
  }
  [[nodiscard]] std::size_t read_stream(std::span<char> block) {
    while (true) {
      pollfd asked{stream_, POLLIN, 0};
      const int ready = ::poll(&asked, 1, kPauseMs);
      if (stop_requested()) return 0;
      if (ready == 0 && !paused_()) return 0;
      if (ready <= 0) continue;
      const ssize_t got = ::read(stream_, block.data(), block.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) throw DataError(name_ + ": can't be read: " + std::strerror(errno));
      if (first_ && got >= 2 && std::string_view(block.data(), 2) == "\x1F\x8B")
        throw DataError(name_ + ": is packed by gzip, and " + why_not_unpacked());
      first_ = false;
      return static_cast<std::size_t>(got);
    }
  }

  /// Of gzip that is no file by a name.
  [[nodiscard]] std::string why_not_unpacked() const {
    struct stat about {};
    if (::fstat(stream_, &about) == 0 && S_ISREG(about.st_mode))
      return "standard input is read as plain text; name the file with --input";
    return "comes through a pipe; unpack it, for example with gunzip -c, or name the file with "
           "--input";
  }

  std::string name_;
  Paused paused_;
  std::optional<data::ByteSource> file_;
  FileDescriptor opened_;
  int stream_ = -1;
  bool first_ = true;
  std::int64_t line_ = 1, length_ = 0;
  std::deque<std::int64_t> cut_;
};

LineSource::LineSource(const std::string& path, Paused paused)
    : bytes_(std::make_unique<Bytes>(path, std::move(paused))),
      reader_(
          bytes_->name(), [this](std::span<char> block) { return bytes_->read(block); }, hash_) {}

LineSource::~LineSource() = default;

const std::string& LineSource::name() const noexcept { return bytes_->name(); }

bool LineSource::next(std::string& text, std::string& fault) {
  text.clear();
  fault.clear();
  const std::int64_t before = reader_.number();
  std::string_view line;
  try {
    if (!reader_.next(line)) return false;
    text = line;
  } catch (const DataError& error) {
    if (reader_.number() == before) throw;  // not of one line
    fault = error.what();
  }
  if (bytes_->was_cut(reader_.number())) {
    text.clear();
    fault = reader_.place() + ": the line has more than " + std::to_string(kLongestLine) +
            " bytes; cut it into sentences";
  }
  return true;
}

}  // namespace th::app
