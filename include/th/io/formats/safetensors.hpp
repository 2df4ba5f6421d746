#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "th/io/checkpoint/output.hpp"
#include "th/io/element_type.hpp"

namespace th::io {

/// A tensor of a safetensors file: row-major elements in bytes [begin, end) of the data part.
struct SafetensorsEntry {
  std::string name;
  std::vector<std::int64_t> shape;
  ElementType type = ElementType::kFp32;
  std::int64_t begin = 0, end = 0;
};

/// Writes one safetensors file, tensor by tensor. The file has a little-endian 64-bit header
/// length, the header as JSON with spaces up to a multiple of 8 bytes, then the data without gaps.
class SafetensorsWriter {
 public:
  /// Writes the header. Sorts the tensors into file order (wider elements first, then by name, so
  /// that each is aligned) and sets their offsets. Throws CheckpointError if the header would be
  /// longer than readers accept (100 MB).
  SafetensorsWriter(OutputFile& file, std::vector<SafetensorsEntry> tensors,
                    const std::map<std::string, std::string>& metadata);
  /// The tensors in the order in which write() wants them.
  [[nodiscard]] const std::vector<SafetensorsEntry>& tensors() const noexcept { return tensors_; }
  /// Appends the next tensor.
  void write(std::span<const float> values);

 private:
  OutputFile& file_;
  std::vector<SafetensorsEntry> tensors_;
  std::size_t next_ = 0;
};

/// Reads a safetensors file of F32, F16 or BF16, tensor by tensor. Everything about the header is
/// checked when it is opened, as the reference implementation does: length, JSON, element types,
/// and that the tensors fill the data part without gap and overlap. Every failure is a
/// CheckpointError that names the file.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);
  ~SafetensorsReader();
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::map<std::string, SafetensorsEntry>& tensors() const noexcept {
    return tensors_;
  }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept {
    return metadata_;
  }
  /// Elements [begin, begin + out.size()) of a tensor in row-major order, widened to fp32 exactly.
  void read(const std::string& name, std::int64_t begin, std::span<float> out) const;

 private:
  void read_bytes(std::int64_t offset, std::span<std::byte> out) const;
  void parse_header(const std::string& text);
  void require_no_gaps(std::int64_t data_bytes) const;

  std::string path_;
  int descriptor_ = -1;
  std::int64_t data_offset_ = 0;
  std::map<std::string, SafetensorsEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace th::io
