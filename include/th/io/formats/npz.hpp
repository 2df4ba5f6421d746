#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "th/io/checkpoint/output.hpp"
#include "th/io/element_type.hpp"

namespace th::io {

/// Writes arrays for numpy.load, array by array. The file is a zip archive (stored, with the 64-bit
/// fields of zip64 throughout, as numpy.savez writes it) of NAME.npy members in the npy format 1.0.
class NpzWriter {
 public:
  explicit NpzWriter(OutputFile& file) : file_(file) {}
  /// Appends an array in row-major order, in fp32 or fp16. numpy has no bfloat16, so that throws
  /// InternalError. Throws CheckpointError if the array can't be written.
  void add(const std::string& name, const std::vector<std::int64_t>& shape, ElementType type,
           std::span<const float> values);
  /// Writes the archive's directory; nothing is added after it.
  void finish();

 private:
  struct Member {
    std::string name;
    std::uint32_t crc = 0;
    std::uint64_t size = 0, offset = 0;
  };
  OutputFile& file_;
  std::vector<Member> members_;
};

}  // namespace th::io
