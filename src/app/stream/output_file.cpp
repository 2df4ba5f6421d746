#include "app/stream/output_file.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

namespace th::app {

namespace {

std::uint32_t crc_of(std::string_view bytes, std::uint32_t before) {
  return crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())), before);
}

/// One member of a gzip file; the same bytes for the same text.
std::string gzip_member(std::string_view text) {
  z_stream stream{};
  ensure(::deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                        Z_DEFAULT_STRATEGY) == Z_OK,
         "zlib can't start");
  std::string packed(::deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int code = ::deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  ensure(code == Z_STREAM_END, "zlib packed a piece of the output in part");
  return packed;
}

}  // namespace

OutputFile::OutputFile(const std::string& path)
    : name_(path.empty() ? "standard output" : path),
      packs_(path.ends_with(".gz")),
      opened_(path.empty() ? -1 : ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)),
      file_(path.empty() ? STDOUT_FILENO : opened_.get()) {
  if (file_ < 0) throw DataError(name_ + ": can't be written: " + std::strerror(errno));
}

void OutputFile::write(std::string_view text) {
  if (text.empty()) return;
  write_bytes(packs_ ? std::string_view(gzip_member(text)) : text);
}

void OutputFile::write_bytes(std::string_view bytes) {
  crc_ = crc_of(bytes, crc_);
  bytes_ += std::ssize(bytes);
  while (!bytes.empty()) {
    const ssize_t put = ::write(file_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EPIPE) throw OutputClosed();
    if (put < 0)
      throw DataError("the lines can't be written to " + name_ + ": " + std::strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

void OutputFile::go_on_at(std::int64_t bytes, std::uint32_t crc) {
  struct stat about {};
  const bool regular = ::fstat(file_, &about) == 0 && S_ISREG(about.st_mode);
  if (regular && (::ftruncate(file_, bytes) != 0 || ::lseek(file_, bytes, SEEK_SET) < 0))
    throw DataError(name_ + ": can't be cut: " + std::strerror(errno));
  bytes_ = bytes;
  crc_ = crc;
}

bool OutputFile::read_on(std::int64_t known, std::int64_t bytes, std::uint32_t& crc) const {
  std::vector<char> block(1 << 20);
  while (known < bytes) {
    const auto wanted = std::min<std::int64_t>(std::ssize(block), bytes - known);
    const ssize_t got = ::pread(file_, block.data(), static_cast<std::size_t>(wanted), known);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw DataError(name_ + ": can't be read: " + std::strerror(errno));
    if (got == 0) return false;
    crc = crc_of({block.data(), static_cast<std::size_t>(got)}, crc);
    known += got;
  }
  return true;
}

std::int64_t OutputFile::size() const {
  struct stat about {};
  return ::fstat(file_, &about) == 0 ? about.st_size : 0;
}

void OutputFile::sync() const {
  if (::fsync(file_) != 0 && errno != EINVAL && errno != EROFS)
    throw DataError("the lines can't be written to " + name_ + ": " + std::strerror(errno));
}

}  // namespace th::app
