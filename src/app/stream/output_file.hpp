#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "th/base/file_descriptor.hpp"

namespace th::app {

/// Who reads standard output has closed it: the job is over, and nothing is to be said.
class OutputClosed {};

/// Where the translations go: standard output, or a file; packed by gzip where its name ends with
/// .gz, each piece as a member of its own (RFC 1952), so that a job can go on behind any of them.
class OutputFile {
 public:
  /// `path` empty: standard output. A file is opened as it is, and made where there is none. Throws
  /// DataError where that can't be done.
  explicit OutputFile(const std::string& path);

  /// Throws DataError where it can't be written, OutputClosed where standard output is closed.
  void write(std::string_view text);
  /// Cuts the file behind its first `bytes` bytes, whose CRC-32C is `crc`, and goes on there.
  void go_on_at(std::int64_t bytes, std::uint32_t crc);
  /// The CRC-32C of its first `bytes` bytes, of which `known` with the CRC `crc` were read before;
  /// false where it is shorter.
  [[nodiscard]] bool read_on(std::int64_t known, std::int64_t bytes, std::uint32_t& crc) const;
  [[nodiscard]] std::int64_t size() const;
  /// Writes the file's bytes to the disk.
  void sync() const;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Bytes that were written, and their CRC-32C.
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint32_t crc() const noexcept { return crc_; }

 private:
  void write_bytes(std::string_view bytes);

  std::string name_;
  bool packs_;
  FileDescriptor opened_;
  int file_;
  std::int64_t bytes_ = 0;
  std::uint32_t crc_ = 0;
};

}  // namespace th::app
