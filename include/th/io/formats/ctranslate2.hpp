#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "th/io/checkpoint/output.hpp"
#include "th/io/element_type.hpp"

namespace th::io {

/// A variable of CTranslate2's model.bin: an array of elements, or one number.
struct Ctranslate2Variable {
  /// In the order of CTranslate2's numbers.
  enum class Type { kFloat32, kInt8, kInt16, kInt32, kFloat16, kBfloat16 };
  std::string name;
  Type type = Type::kFloat32;
  std::vector<std::int64_t> shape;  ///< empty: one number, which `number` holds
  double number = 0;

  /// An array of parameters.
  static Ctranslate2Variable array(std::string name, std::vector<std::int64_t> shape,
                                   ElementType type);
  static Ctranslate2Variable scalar(std::string name, Type type, double number);
  /// A Boolean, as CTranslate2 stores it.
  static Ctranslate2Variable flag(std::string name, bool value);
};

/// Writes CTranslate2's model.bin (binary version 6), variable by variable. The file has the name
/// of the specification and its revision, then each variable with name, extents, type and bytes,
/// then aliases of variables.
class Ctranslate2Writer {
 public:
  struct Specification {
    std::string name;
    std::uint32_t revision = 1;
  };
  /// Writes the file's beginning, and sorts the variables by name, which is the file's order.
  /// `aliases` maps each further name to its variable. Throws CheckpointError if a name, an extent
  /// or an array is too large for the format (4 GiB an array).
  Ctranslate2Writer(OutputFile& file, const Specification& specification,
                    std::vector<Ctranslate2Variable> variables,
                    std::map<std::string, std::string> aliases);
  /// The arrays in the order in which write() wants them.
  [[nodiscard]] std::vector<std::string> arrays() const;
  /// Writes the next array, in row-major order, and the numbers before it.
  void write(std::span<const float> values);
  /// Writes the rest, after the last array.
  void finish();

 private:
  void write_numbers();
  void write_head(const Ctranslate2Variable& variable, std::uint64_t bytes);

  OutputFile& file_;
  std::vector<Ctranslate2Variable> variables_;
  std::map<std::string, std::string> aliases_;
  std::size_t next_ = 0;
};

}  // namespace th::io
