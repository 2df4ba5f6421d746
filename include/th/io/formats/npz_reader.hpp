#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "th/base/file_descriptor.hpp"

namespace th::io {

/// An array of an npz archive: where its bytes are, and what its npy header says.
struct NpzArray {
  enum class Type { kFloat32, kFloat16, kByte };
  std::vector<std::int64_t> shape;
  Type type = Type::kFloat32;
  std::uint64_t data_begin = 0;  ///< of the elements in the member's unpacked bytes
  // The member of the zip archive.
  bool packed = false;             ///< deflated, else stored
  std::uint32_t crc = 0;           ///< CRC-32 of the unpacked bytes
  std::uint64_t offset = 0;        ///< of the member's bytes in the file
  std::uint64_t stored_bytes = 0;  ///< in the file
  std::uint64_t bytes = 0;         ///< unpacked
};

/// Reads what numpy.savez, numpy.savez_compressed and Marian write: a zip archive, with 64-bit
/// fields or without, of NAME.npy members, stored or deflated, in the npy formats 1.0 to 3.0 with
/// little-endian fp32, fp16 or 8-bit elements in C order. Directory and headers are checked when it
/// is opened; every failure is a CheckpointError that names the file.
class NpzReader {
 public:
  explicit NpzReader(const std::string& path);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The arrays by name, without ".npy".
  [[nodiscard]] const std::map<std::string, NpzArray>& arrays() const noexcept { return arrays_; }
  /// An array's elements in row-major order, fp16 widened exactly. The CRC is checked.
  [[nodiscard]] std::vector<float> read(const std::string& name) const;
  /// The elements of an array of 8-bit numbers, unchanged. The CRC is checked.
  [[nodiscard]] std::string read_bytes(const std::string& name) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void read_directory();
  void add_member(const std::string& record, const std::string& name, const std::string& extra);
  void read_header(const std::string& name, NpzArray& array) const;
  [[nodiscard]] std::string file_bytes(std::uint64_t offset, std::uint64_t count) const;
  /// The first `count` unpacked bytes of a member.
  [[nodiscard]] std::string member_bytes(const NpzArray& array, std::uint64_t count) const;
  [[nodiscard]] std::string whole_member(const std::string& name, const NpzArray& array) const;

  std::string path_;
  FileDescriptor file_;
  std::uint64_t size_ = 0;
  std::map<std::string, NpzArray> arrays_;
};

}  // namespace th::io
