#include "th/data/byte_source.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"

namespace th::data {

namespace {

using std::string_view_literals::operator""sv;

struct Packed {
  std::string_view magic;
  const char* name;
  const char* way_out;
};
/// Behind "BZh" and a digit: a text may begin with those.
constexpr std::string_view kBzip2Block = "1AY&SY"sv;
constexpr std::array<Packed, 3> kUnread = {{{"\xFD\x37zXZ\0"sv, "xz", "unxz"},
                                            {"\x28\xB5\x2F\xFD"sv, "zstd", "unzstd"},
                                            {"PK\x03\x04"sv, "zip", "unzip"}}};
constexpr std::string_view kGzip = "\x1F\x8B"sv;
constexpr std::size_t kLongestMagic = 10;

std::string seconds_text(std::chrono::milliseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g s", static_cast<double>(time.count()) / 1000);
  return text.data();
}

}  // namespace

/// The file's bytes as they lie there, and how many of them were passed.
class ByteSource::Raw {
 public:
  Raw(std::string name, const std::string& path, std::chrono::milliseconds patience)
      : name_(std::move(name)), patience_(patience), buffer_(1 << 16) {
    std::error_code status;
    if (std::filesystem::is_directory(path, status))
      throw DataError(name_ + ": is a folder; name a text file");
    // A pipe is opened at once, whoever writes to it comes later or never.
    file_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about {};
    if (file_.get() < 0 || ::fstat(file_.get(), &about) != 0)
      throw DataError(name_ + ": can't be read: " + std::strerror(errno) + "; check the path");
    waits_ = !S_ISREG(about.st_mode);
    while (end_ < kLongestMagic && more()) {
    }
    if (left().starts_with("BZh") && left().substr(4).starts_with(kBzip2Block))
      refuse_packed("bzip2", "bunzip2");
    for (const Packed& packed : kUnread) {
      if (left().starts_with(packed.magic)) refuse_packed(packed.name, packed.way_out);
    }
  }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// What was read and not taken.
  [[nodiscard]] std::string_view left() const noexcept {
    return std::string_view(buffer_.data(), end_).substr(begin_);
  }
  /// Reads where nothing is left; false at the end of the file.
  [[nodiscard]] bool fill() { return begin_ < end_ || more(); }
  void take(std::size_t count) noexcept {
    begin_ += count;
    passed_ += static_cast<std::int64_t>(count);
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Bytes of the file that were taken.
  [[nodiscard]] std::int64_t passed() const noexcept { return passed_; }

 private:
  [[noreturn]] void refuse_packed(const char* by, const char* way_out) const {
    throw DataError(name_ + ": is packed by " + by +
                    ", and text is read plain or packed by gzip; unpack it, for example with " +
                    way_out);
  }
  /// Whether bytes came; false at the end.
  bool more() {
    while (true) {
      if (waits_ && !wait()) return false;
      const ssize_t got = ::read(file_.get(), buffer_.data() + end_, buffer_.size() - end_);
      if (got >= 0) {
        end_ += static_cast<std::size_t>(got);
        return got > 0;
      }
      if (errno != EINTR && errno != EAGAIN)
        throw DataError(name_ + ": can't be read: " + std::strerror(errno));
    }
  }
  /// Until there is something to read; false where the writer has closed the pipe.
  bool wait() {
    pollfd asked{file_.get(), POLLIN, 0};
    while (true) {
      const int ready = ::poll(&asked, 1, static_cast<int>(patience_.count()));
      if (ready > 0) return (asked.revents & POLLIN) != 0;
      if (ready == 0)
        throw DataError(name_ + ": is a pipe from which nothing came for " +
                        seconds_text(patience_) +
                        "; start what writes to it first, or give a file");
      if (errno != EINTR) throw DataError(name_ + ": can't be waited for: " + std::strerror(errno));
    }
  }

  std::string name_;
  std::chrono::milliseconds patience_;
  FileDescriptor file_;
  bool waits_ = false;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t passed_ = 0;
};

/// zlib's inflate over the members of a gzip file (RFC 1952).
class ByteSource::Gzip {
 public:
  explicit Gzip(Raw& raw) : raw_(raw) {
    if (::inflateInit2(&stream_, 15 + 16) != Z_OK)
      throw DataError(raw_.name() + ": zlib can't start: out of memory");
  }
  ~Gzip() { ::inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  std::size_t read(std::span<char> block) {
    stream_.next_out = reinterpret_cast<Bytef*>(block.data());
    stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(block.size(), 1U << 30));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room && !done_) step();
    unpacked_ += room - stream_.avail_out;
    return room - stream_.avail_out;
  }

 private:
  void step() {
    if (between_ && !begin_member()) return;
    if (!raw_.fill()) fail("unexpected end of file");
    const std::string_view in = raw_.left();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = static_cast<uInt>(in.size());
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    raw_.take(in.size() - stream_.avail_in);
    if (code == Z_STREAM_END)
      between_ = true;
    else if (code == Z_DATA_ERROR && members_ > 1 && stream_.total_out == 0)
      refuse_tail(member_at_);
    else if (code != Z_OK && code != Z_BUF_ERROR)
      fail(stream_.msg != nullptr ? stream_.msg : "zlib: " + std::to_string(code));
  }
  /// Goes to the next member; false at the end of the file. Zeros behind the last one fill blocks
  /// of a tape, and gzip passes over them too.
  bool begin_member() {
    while (raw_.fill() && members_ > 0 && raw_.left().front() == '\0') {
      raw_.take(1);
      padded_ = true;
    }
    if (!raw_.fill()) {
      done_ = true;
      return false;
    }
    if (members_ > 0 && (padded_ || raw_.left().front() != kGzip.front()))
      refuse_tail(raw_.passed());
    member_at_ = raw_.passed();
    ++members_;
    between_ = false;
    ::inflateReset(&stream_);
    return true;
  }
  [[noreturn]] void refuse_tail(std::int64_t at) const {
    throw DataError(raw_.name() + ": has bytes behind the end of its gzip stream, from byte " +
                    std::to_string(at) +
                    " of the file on, which are not gzip (\"trailing garbage\"); pack the whole "
                    "text again");
  }
  [[noreturn]] void fail(const std::string& reason) const {
    throw DataError(raw_.name() + ": damaged or cut off after " + std::to_string(unpacked_) +
                    " unpacked bytes (" + reason + ")");
  }

  Raw& raw_;
  z_stream stream_{};
  bool between_ = true, done_ = false, padded_ = false;
  std::int64_t members_ = 0, member_at_ = 0, unpacked_ = 0;
};

ByteSource::ByteSource(std::string name, const std::string& path,
                       std::chrono::milliseconds patience)
    : raw_(std::make_unique<Raw>(std::move(name), path, patience)) {
  if (raw_->left().starts_with(kGzip)) gzip_ = std::make_unique<Gzip>(*raw_);
}

ByteSource::~ByteSource() = default;
ByteSource::ByteSource(ByteSource&&) noexcept = default;

std::size_t ByteSource::read(std::span<char> block) {
  if (gzip_) return gzip_->read(block);
  if (!raw_->fill()) return 0;
  const std::string_view bytes = raw_->left().substr(0, block.size());
  std::copy(bytes.begin(), bytes.end(), block.begin());
  raw_->take(bytes.size());
  return bytes.size();
}

FileStamp stamp_of(const std::string& path) {
  FileStamp stamp{path, -1, 0};
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) return stamp;
  stamp.bytes = about.st_size;
  stamp.modified =
      std::int64_t{about.st_mtim.tv_sec} * 1000000000 + std::int64_t{about.st_mtim.tv_nsec};
  return stamp;
}

}  // namespace th::data
