#include "io/file_seal.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string_view>

#include "io/failure.hpp"
#include "th/base/error.hpp"
#include "th/base/file_descriptor.hpp"
#include "th/base/hash.hpp"

namespace th::io {
namespace {

constexpr std::string_view kMark = "th_app checkpoint, crc32c of what follows byte 512: ";
constexpr std::string_view kHdf5Signature = "\x89HDF\r\n\x1a\n";
using Seal = std::array<char, static_cast<std::size_t>(kSealBytes)>;

FileDescriptor open_existing(const std::string& path, int flags) {
  FileDescriptor fd(open(path.c_str(), flags | O_CLOEXEC));
  if (fd.get() < 0) fail_with_reason("cannot open", path, errno);
  return fd;
}

/// Bytes read at `offset`: fewer than asked for at the end of the file.
std::size_t read_at(const FileDescriptor& fd, char* out, std::size_t bytes, std::int64_t offset,
                    const std::string& path) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n =
        pread(fd.get(), out + done, bytes - done, offset + static_cast<std::int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_with_reason("cannot read", path, errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::string make_seal(const FileDescriptor& fd, const std::string& path) {
  std::array<char, 12288> buffer{};  // on the stack: a save takes no memory that is not planned
  std::uint32_t crc = 0;
  for (std::int64_t offset = kSealBytes;;) {
    const std::size_t got = read_at(fd, buffer.data(), buffer.size(), offset, path);
    if (got == 0) break;
    crc = crc32c(std::as_bytes(std::span(buffer).first(got)), crc);
    offset += static_cast<std::int64_t>(got);
  }
  std::array<char, 16> number{};
  std::snprintf(number.data(), number.size(), "%08x\n", crc);
  return std::string(kMark) + number.data();
}

}  // namespace

void seal_file(const std::string& path) {
  const FileDescriptor fd = open_existing(path, O_RDWR);
  const std::string text = make_seal(fd, path);
  Seal seal{};
  text.copy(seal.data(), seal.size());
  if (pwrite(fd.get(), seal.data(), seal.size(), 0) != kSealBytes)
    fail_with_reason("cannot write the seal of", path, errno);
}

void require_seal(const std::string& path) {
  const FileDescriptor fd = open_existing(path, O_RDONLY);
  Seal seal{};
  (void)read_at(fd, seal.data(), seal.size(), 0, path);
  const std::string_view seen(seal.data(), seal.size());
  // Written anew by another program: no user block, or an empty one.
  const bool unsealed = seen.substr(0, kHdf5Signature.size()) == kHdf5Signature ||
                        seen.find_first_not_of('\0') == std::string_view::npos;
  if (unsealed) return;
  const std::string expected = make_seal(fd, path);
  if (seen.substr(0, expected.size()) != expected ||
      seen.find_first_not_of('\0', expected.size()) != std::string_view::npos)
    throw CheckpointError(path +
                          ": the checksum of the file (deck, state, layout, vocabularies, virtual "
                          "datasets) is wrong; the file is damaged");
}

}  // namespace th::io
